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
        """Derived from job, request and body, so that a repeat has nowhere to go."""
        parts = [self.job_id, self.request_id, hashlib.sha256(self.body).hexdigest()]
        if self.stale:
            parts.append("stale")  # a stale copy must not keep the fresh one out
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


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
