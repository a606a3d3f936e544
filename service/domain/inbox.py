"""The inbox: the durable record of each distinct authentic delivery."""

import hashlib
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One authentic POST from fal. `stale`: its timestamp is outside the window.

    A stale delivery is kept as a hint: it may be an old message replayed, or our clock may be
    wrong, so its words are not used, and fal is asked once instead.
    """

    job_id: str
    attempt: int
    request_id: str
    user_id: str
    body: bytes
    stale: bool

    @property
    def entry_id(self) -> str:
        return _entry_id(self.job_id, self.request_id, self.body, stale=self.stale)


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxEntry:
    """A recorded delivery; `attempts` counts how often its handling was begun."""

    id: str
    job_id: str
    attempt: int
    request_id: str
    body: bytes
    stale: bool
    attempts: int
    received_at: datetime
    handled_at: datetime | None
    outcome: str | None
    parked: bool
    taken_at: datetime | None = None  # when the attempt that holds it began
    due: datetime | None = None

    @property
    def is_emptied(self) -> bool:
        """Whether its words were kept for their time and are gone; fal may also send none."""
        empty = _entry_id(self.job_id, self.request_id, b"", stale=self.stale)
        return not self.body and self.id != empty


def _entry_id(job_id: str, request_id: str, body: bytes, *, stale: bool) -> str:
    """Derived from job, request and body, so that a repeat has nowhere to go."""
    parts = [job_id, request_id, hashlib.sha256(body).hexdigest()]
    if stale:
        parts.append("stale")  # a stale copy must not keep the fresh one out
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
