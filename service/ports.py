"""What the flows need from the outside world. Adapters implement these."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from service.domain.audit import AuditAccount, AuditJob, Violation
from service.domain.credits import Balance, LedgerEntry
from service.domain.inbox import Delivery, InboxEntry
from service.domain.job import Job, JobError, JobState, NewJob, Submission
from service.domain.policy import Policy
from service.domain.templates import Template
from service.domain.verdict import Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """An object that is durable in the bucket. `sha256` is lower-case hex of its bytes."""

    key: str
    size: int
    sha256: str
    reused: bool = False


class Download(Protocol):
    """A rendered file being fetched. `size` in bytes is None when the source does not say."""

    @property
    def size(self) -> int | None: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes, once.

        Ends normally only after a complete MP4 of the announced length. Raises NotAVideo,
        SourceTooLarge or Transient otherwise.
        """
        ...


class VideoSource(Protocol):
    """fal's CDN: hands out rendered files, guarded against every address that is not its own."""

    def fetch(self, url: str) -> AbstractAsyncContextManager[Download]:
        """Open the file at `url`, recognised as an MP4 by its head.

        Raises SourceRefused, SourceGone, SourceTooLarge, NotAVideo and Transient.
        """
        ...


class Bucket(Protocol):
    """The object store (R2). Every method raises Transient when the store does not answer."""

    async def put_image(self, key: str, data: bytes, content_type: str) -> None:
        """Store a start image. A repeat overwrites it with the same bytes."""
        ...

    async def put_video(self, key: str, job_id: str, download: Download) -> StoredObject:
        """Stream a download to `key` in constant memory, write-once.

        A repeat, a racer or a lost answer finds the object that this job wrote and returns it
        with `reused=True`. Raises ObjectConflict when the key holds something else, and what
        `download.chunks()` raises; in those cases no object and no partial upload is left.
        """
        ...

    async def find_video(self, key: str, job_id: str) -> StoredObject | None:
        """The object this job wrote earlier, or None. Raises ObjectConflict."""
        ...

    async def abort_leftovers(self, key: str) -> int:
        """Abort unfinished uploads of `key` left by a dead attempt; how many. Repeats are safe.

        Only for the holder of the job's lease: it would end a live rival's upload.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the object. A repeat finds nothing and succeeds."""
        ...

    def url(self, key: str, expires_in_s: int) -> str:
        """An address anyone can GET the object at (with Range) for that long. No network call."""
        ...

    async def check(self) -> None:
        """Return if the bucket exists and may be used. Raises Transient."""
        ...


# ---------------------------------------------------------------------------------------- fal


@dataclass(frozen=True, slots=True)
class Accepted:
    """fal has the job: it answered our POST with a request id."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class Declined:
    """fal refuses this input for good. Nothing is being rendered."""

    error: JobError


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """fal did certainly not take the job, but may take it later (no connection, 429, 401 …)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The POST went out and no usable answer came back: fal may be rendering."""

    reason: str


SubmitOutcome = Accepted | Declined | NotAccepted | Unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A request found in fal's own listing; `verdict` as far as the listing tells it."""

    request_id: str
    verdict: Verdict


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

    async def find(
        self, endpoint: str, needle: str, since: datetime, until: datetime
    ) -> list[Listed]:
        """The requests sent in that time whose input contains `needle`. Raises Transient.

        An answer that does not show every request's input is no answer: it would pass for proof
        that fal does not have what it has.
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


# -------------------------------------------------------------------------------------- store


class Reserved(StrEnum):
    """What became of a reservation."""

    RESERVED = "reserved"
    EXISTS = "exists"
    CONFLICT = "conflict"
    INSUFFICIENT = "insufficient"
    TOO_MANY = "too_many"


class Applied(StrEnum):
    """What became of a verdict."""

    RENDERED = "rendered"
    CLOSED = "closed"
    REPEAT = "repeat"
    SURPLUS = "surplus"
    LATE = "late"
    REFUSED = "refused"
    UNKNOWN_JOB = "unknown_job"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grounds:
    """On what a job is closed without a video; each that is given guards the write.

    `attempt`: fal's words about that attempt. `fence`: the finding of whoever holds that lease,
    which alone may close a rendered job. `request_id` is noted, `entry_id` handled with it.
    """

    attempt: int | None = None
    fence: int | None = None
    request_id: str | None = None
    entry_id: str | None = None


class Settled(StrEnum):
    """What became of a settlement."""

    SETTLED = "settled"
    ALREADY = "already"
    STALE = "stale"


class Store(Protocol):
    """SurrealDB: one method per fact change. Each is a single transaction.

    What a repeat does is said beside each query in queries.surql. Durations are seconds.
    Every method raises Transient when the database does not answer.
    """

    # credits
    async def grant(self, email: str, amount: int, grant_id: str) -> Balance: ...
    async def balance(self, email: str) -> Balance: ...
    async def ledger(self, email: str, limit: int) -> list[LedgerEntry]: ...

    # templates
    async def save_template(self, template: Template) -> None: ...
    async def add_template(self, template: Template) -> bool: ...
    async def template(self, slug: str) -> Template: ...
    async def templates(self) -> list[Template]: ...

    # jobs
    async def reserve(self, job: NewJob, *, max_in_flight: int, grace_s: float) -> Reserved: ...
    async def job(self, job_id: str) -> Job:
        """Raises NotFound."""
        ...

    async def jobs(self, email: str, *, before: str | None, limit: int) -> list[Job]: ...
    async def begin_submission(self, job_id: str, *, grace_s: float) -> Job | None: ...
    async def record_submission(
        self, job_id: str, attempt: int, submission: Submission, *, expected_s: float
    ) -> bool: ...
    async def submission_unknown(
        self, job_id: str, attempt: int, reason: str, *, grace_s: float
    ) -> bool: ...
    async def submission_void(
        self,
        job: Job,
        reason: str,
        *,
        retry_in_s: float,
        request_id: str | None = None,
        entry_id: str | None = None,
    ) -> bool: ...
    async def count_lookup(self, job: Job, *, apart_s: float) -> int: ...
    async def apply_rendered(
        self, job_id: str, request_id: str, source_url: str | None, *, entry_id: str | None
    ) -> Applied: ...
    async def close_unfilled(
        self,
        job_id: str,
        to: JobState,
        error: JobError,
        grounds: "Grounds",
    ) -> Applied: ...
    async def lease(self, job_id: str, holder: str, *, lease_s: float) -> Job | None: ...
    async def heartbeat(self, job_id: str, fence: int, *, lease_s: float) -> bool: ...
    async def give_back(
        self, job: Job, reason: str, *, retry_in_s: float, counted: bool, gone: bool = False
    ) -> bool: ...
    async def new_source(self, job_id: str, fence: int, source_url: str) -> bool: ...
    async def park(self, job: Job, reason: str, *, leased: bool = False) -> bool: ...
    async def settle_ready(self, job_id: str, fence: int, stored: "StoredObject") -> Settled: ...
    async def due_jobs(self, limit: int, delays_s: Sequence[float]) -> list[Job]: ...
    async def make_due(self, job_id: str) -> bool: ...

    # inbox
    async def record_delivery(self, delivery: Delivery, *, grace_s: float) -> bool: ...
    async def take_delivery(self, entry_id: str, *, retry_in_s: float) -> InboxEntry | None: ...
    async def close_delivery(self, entry_id: str, outcome: str) -> bool: ...
    async def park_delivery(self, entry_id: str, reason: str) -> bool: ...
    async def due_deliveries(self, limit: int, *, retry_in_s: float) -> list[str]: ...
    async def oldest_waiting_delivery_s(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Stray:
    """Rows without the row they belong to, and deliveries still to be handled."""

    waiting: int
    violations: tuple[Violation, ...]


class AuditStore(Protocol):
    """What the audit reads. Nothing here changes anything."""

    async def audit_accounts(self) -> list[AuditAccount]: ...
    async def audit_jobs(self, after: str | None, limit: int) -> list[AuditJob]: ...
    async def audit_stray(self) -> Stray: ...


class Nudge(Protocol):
    """Wakes the worker. Losing a nudge loses time, never work: rows carry their own due time."""

    def submission(self, job_id: str) -> None: ...
    def delivery(self, entry_id: str) -> None: ...
    def finalisation(self, job_id: str) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything a process was wired with. Built once in wiring.py, or by a test."""

    policy: Policy
    store: Store
    fal: Fal
    bucket: Bucket
    source: VideoSource
    verifier: DeliveryVerifier
    nudge: Nudge
