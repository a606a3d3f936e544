"""What the flows need from fal: submissions, verdicts, cancelling, proof of who signed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from service.domain.job import JobError, Submission
from service.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Accepted:
    """fal has the job: it answered our POST with a request id."""

    submission: Submission

    @property
    def said(self) -> str:
        return f"accepted {self.submission.request_id}"


@dataclass(frozen=True, slots=True)
class Declined:
    """fal refuses this input for good. Nothing is being rendered."""

    error: JobError

    @property
    def said(self) -> str:
        return f"declined: {self.error.code}"


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """fal did certainly not take the job, but may take it later (no connection, 429, 401 …).

    `locked`: fal takes nothing from this account or key, whatever the job.
    """

    reason: str
    locked: bool = False

    @property
    def said(self) -> str:
        return f"not accepted: {self.reason}"


@dataclass(frozen=True, slots=True)
class Unknown:
    """The POST went out and no usable answer came back: fal may be rendering."""

    reason: str

    @property
    def said(self) -> str:
        return f"unknown: {self.reason}"


SubmitOutcome = Accepted | Declined | NotAccepted | Unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A request found in fal's own listing; `verdict` as far as the listing tells it."""

    request_id: str
    verdict: Verdict


class CancelAnswer(StrEnum):
    """What fal says to a cancel. None of it is a verdict: that is still to come."""

    REQUESTED = "requested"  # a queued request is removed, a running one told to stop; or not
    TOO_LATE = "too_late"  # it has ended already
    MISSING = "missing"  # fal does not know the request


class Fal(Protocol):
    """fal's queue. `submit` makes one request; reads may be repeated within their deadline."""

    async def submit(
        self, endpoint: str, arguments: Mapping[str, Any], webhook_url: str
    ) -> SubmitOutcome:
        """POST one job, once. Never raises for what fal or the network does: that is outcome."""
        ...

    async def check(self, endpoint: str, submission: Submission) -> Verdict:
        """Ask for the request's status and, once it has ended, its result. Raises Transient."""
        ...

    async def result(self, endpoint: str, submission: Submission) -> Verdict:
        """Ask for the result of a request known to have ended. Raises Transient."""
        ...

    async def cancel(self, endpoint: str, submission: Submission) -> CancelAnswer:
        """Ask fal to stop a request, which may go on and complete all the same.

        Raises Transient. A repeat is harmless.
        """
        ...

    async def find(
        self,
        endpoint: str,
        needle: str,
        since: datetime,
        until: datetime,
        *,
        forgotten: Collection[str] = (),
    ) -> list[Listed]:
        """The requests sent in that time whose input contains `needle`. Raises Transient.

        An answer that does not show every request's input is no answer: it would pass for proof
        that fal does not have what it has. It raises InputHidden, which names those requests;
        `forgotten` ones are known to have none.
        """
        ...

    async def forget(self, request_id: str) -> str | None:
        """Have fal delete what it stores of a request: its input, its result, its files.

        None once fal has none of it, also before; else why fal keeps it, which asking again may
        not change. Raises Transient.
        """
        ...


class DeliveryVerifier(Protocol):
    async def verify(self, headers: Mapping[str, str], body: bytes) -> "Signed":
        """What a delivery's headers prove. Raises NotAuthentic; Transient if keys are missing."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """An authentic delivery's signed headers. `stale`: its timestamp is outside the window."""

    request_id: str
    user_id: str
    stale: bool
