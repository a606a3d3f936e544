"""What the flows need from SurrealDB: one method per fact change, by what it is about.

Each method is a single transaction; what a repeat does is said beside its query in
queries/*.surql. Durations are seconds. Every method raises Transient when the database does not
answer.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from service.domain.audit import AuditAccount, AuditJob, Violation
from service.domain.credits import Balance, LedgerEntry
from service.domain.inbox import Delivery, InboxEntry
from service.domain.job import IfFinished, Job, JobError, JobState, NewJob, Submission
from service.domain.pauses import Activity, Gate, Pause
from service.domain.templates import Template
from service.domain.write_offs import WriteOff
from service.ports.bucket import StoredObject
from service.ports.keeping import Keeping


class Reserved(StrEnum):
    """What became of a reservation."""

    RESERVED = "reserved"
    EXISTS = "exists"
    CONFLICT = "conflict"
    INSUFFICIENT = "insufficient"
    TOO_MANY = "too_many"
    CLOSED = "closed"


class Applied(StrEnum):
    """What became of a verdict."""

    RENDERED = "rendered"
    CLOSED = "closed"
    REPEAT = "repeat"
    SURPLUS = "surplus"
    UNWANTED = "unwanted"
    LATE = "late"
    REFUSED = "refused"
    UNKNOWN_JOB = "unknown_job"


class Recovered(StrEnum):
    """What became of a video that came after its job had ended without one."""

    RECOVERED = "recovered"  # a job of its own delivers and charges it
    REPEAT = "repeat"
    INSUFFICIENT = "insufficient"  # the owner holds fewer credits than it costs
    UNWANTED = "unwanted"  # its owner had given it up
    NOT_ENDED = "not_ended"


@dataclass(frozen=True, slots=True)
class Successor:
    """The job that is to deliver an ended job's late video, and where to."""

    job_id: str
    object_key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Grounds:
    """On what a job is closed without a video; each that is given guards the write.

    `attempt`: fal's words about that attempt. `fence`: the finding of whoever holds that lease,
    which alone may close a rendered job. `states`: only from these. `request_id` is noted,
    `entry_id` handled, and `cost` written off with it.
    """

    attempt: int | None = None
    fence: int | None = None
    states: frozenset[JobState] | None = None
    request_id: str | None = None
    entry_id: str | None = None
    cost: WriteOff | None = None


class Settled(StrEnum):
    """What became of a settlement."""

    SETTLED = "settled"
    ALREADY = "already"
    STALE = "stale"


class Deleted(StrEnum):
    """What became of a wish to delete a job."""

    DELETED = "deleted"
    ALREADY = "already"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, kw_only=True, slots=True)
class Removals:
    """What is due to be removed: deleted jobs' leftovers, closed accounts' jobs."""

    jobs: tuple[str, ...]
    accounts: tuple[str, ...]


class Accounts(Protocol):
    """Credits, and the templates they are spent on."""

    async def grant(self, email: str, amount: int, grant_id: str) -> Balance: ...
    async def balance(self, email: str) -> Balance: ...
    async def ledger(self, email: str, limit: int) -> list[LedgerEntry]: ...
    async def job_ledger(self, job_id: str) -> list[LedgerEntry]: ...
    async def save_template(self, template: Template) -> None: ...
    async def add_template(self, template: Template) -> bool: ...
    async def template(self, slug: str) -> Template: ...
    async def templates(self) -> list[Template]: ...


class Submissions(Protocol):
    """From the reservation to a request that fal is known to have, or not to have."""

    async def reserve(self, job: NewJob, *, max_in_flight: int, grace_s: float) -> Reserved: ...
    async def begin_submission(self, job_id: str, *, grace_s: float, max_at_fal: int) -> Job | None:
        """The job, if it may be sent now: not while `max_at_fal` requests are at fal."""
        ...

    async def count_at_fal(self, limit: int) -> int:
        """How many requests are at fal, or may be; not more than `limit`."""
        ...

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
    async def count_lookup(self, job: Job, *, apart_s: float, again_in_s: float) -> int: ...
    async def request_cancel(
        self, job_id: str, if_finished: IfFinished, *, grace_s: float = 0.0
    ) -> bool: ...
    async def cancel_accepted(self, job_id: str, request_id: str, *, grace_s: float) -> bool: ...


class Endings(Protocol):
    """What a verdict makes of a job, up to its settlement."""

    async def apply_rendered(
        self, job_id: str, request_id: str, source_url: str | None, *, entry_id: str | None
    ) -> Applied: ...
    async def close_unfilled(
        self, job_id: str, to: JobState, error: JobError, grounds: Grounds
    ) -> Applied: ...
    async def recover_late(
        self, job: Job, successor: Successor, request_id: str, source_url: str | None
    ) -> Recovered: ...
    async def write_off(self, cost: WriteOff) -> bool: ...
    async def lease(self, job_id: str, holder: str, *, lease_s: float) -> Job | None: ...
    async def heartbeat(self, job_id: str, fence: int, *, lease_s: float) -> bool: ...
    async def give_back(
        self, job: Job, reason: str, *, retry_in_s: float, counted: bool, gone: bool = False
    ) -> bool: ...
    async def new_source(self, job_id: str, fence: int, source_url: str) -> bool: ...
    async def settle_ready(self, job_id: str, fence: int, stored: StoredObject) -> Settled: ...


class Work(Protocol):
    """Finding jobs: by name, by owner, by being due, by needing a person; and pauses."""

    async def job(self, job_id: str) -> Job:
        """Raises NotFound."""
        ...

    async def versions(self, job_ids: Sequence[str]) -> dict[str, int]:
        """The version of each of these jobs that is there."""
        ...

    async def jobs_named(self, job_ids: Sequence[str]) -> list[Job]: ...
    async def jobs(self, email: str, *, before: str | None, limit: int) -> list[Job]: ...
    async def due_jobs(
        self, limit: int, delays_s: Sequence[float], *, leave: Collection[JobState] = ()
    ) -> list[Job]: ...
    async def make_due(self, job_id: str) -> bool: ...
    async def park(self, job: Job, reason: str, *, leased: bool = False) -> bool: ...
    async def redrive(self, job_id: str) -> bool: ...
    async def gate(self, activity: Activity, *, probe_s: float) -> Gate: ...
    async def pause(
        self, activity: Activity, reason: str, *, delays_s: Sequence[float], probed: bool
    ) -> bool: ...
    async def resume(self, activity: Activity) -> bool: ...
    async def pauses(self) -> list[Pause]: ...


class Inbox(Protocol):
    """Deliveries, from their receipt to their handling."""

    async def record_delivery(self, delivery: Delivery, *, grace_s: float) -> bool: ...
    async def take_delivery(self, entry_id: str, *, retry_in_s: float) -> InboxEntry | None: ...
    async def put_off_delivery(self, entry_id: str, *, retry_in_s: float) -> bool: ...
    async def close_delivery(self, entry_id: str, outcome: str) -> bool: ...
    async def park_delivery(self, entry_id: str, reason: str) -> bool: ...
    async def redrive_delivery(self, entry_id: str) -> bool: ...
    async def due_deliveries(self, limit: int, *, retry_in_s: float) -> list[str]: ...
    async def delivery(self, entry_id: str) -> InboxEntry:
        """Raises NotFound."""
        ...

    async def oldest_waiting_delivery_s(self) -> float | None: ...


class Deletions(Protocol):
    """Deleting a job, purging what it left elsewhere, emptying a closed account."""

    async def begin_delete(self, job_id: str) -> Deleted: ...
    async def due_removals(self, limit: int) -> Removals: ...
    async def take_purge(self, job_id: str, delays_s: Sequence[float]) -> Job | None: ...
    async def purge_again(self, job_id: str) -> bool: ...
    async def unhandled_deliveries(self, job_id: str) -> list[str]: ...
    async def empty_deliveries(self, job: Job) -> frozenset[str]:
        """Empty the bodies of the handled ones; the requests that they were about."""
        ...

    async def note_forgotten(self, job_id: str, request_id: str) -> bool: ...
    async def forgotten(self, request_ids: Collection[str]) -> frozenset[str]:
        """Those of these requests whose payload fal has deleted at our wish."""
        ...

    async def finish_purge(self, job: Job, kept: str | None) -> bool: ...
    async def close_account(self, email: str) -> bool: ...
    async def take_closing(
        self, email: str, limit: int, *, retry_in_s: float
    ) -> list[Job] | None: ...
    async def count_jobs(self, email: str) -> int: ...


class Afterwards(Protocol):
    """What comes after a job's end: its thumbnail, and how long renders take."""

    async def begin_afterwards(self, job_id: str, delays_s: Sequence[float]) -> Job | None: ...
    async def set_thumbnail(self, job_id: str, key: str) -> bool: ...
    async def drop_thumbnail(self, job_id: str) -> bool: ...
    async def due_thumbnails(
        self, limit: int, *, attempts: int, age_s: float, retry_in_s: float
    ) -> list[str]: ...
    async def note_render_time(self, fal_model: str, duration_s: int, took_s: int) -> None: ...
    async def render_times(self, fal_model: str, duration_s: int) -> list[int]: ...


class Store(Accounts, Submissions, Endings, Work, Inbox, Deletions, Afterwards, Keeping, Protocol):
    """SurrealDB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stray:
    """Rows without the row they belong to, and what is counted beside the jobs."""

    waiting: int
    parked: int
    purges: int  # deleted jobs that still have something to be removed
    written_off: int
    violations: tuple[Violation, ...]


class AuditStore(Protocol):
    """What the audit reads, a page at a time. Nothing here changes anything."""

    async def audit_accounts(self, after: str | None, limit: int) -> list[AuditAccount]: ...
    async def audit_jobs(self, after: str | None, limit: int) -> list[AuditJob]: ...
    async def audit_stray(self) -> Stray: ...
    async def audit_poster_owners(self, job_ids: Sequence[str]) -> frozenset[str]:
        """Those of these jobs that have a thumbnail, are still to get one, or to be purged."""
        ...

    async def audit_owners(
        self, job_ids: Sequence[str], states: Collection[JobState]
    ) -> frozenset[str]:
        """Those of these jobs that are in one of the states, or deleted and not yet purged."""
        ...
