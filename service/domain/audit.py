"""The invariants of money, jobs and videos, checked on facts read back from the database.

Pure: rows in, violations out. What cannot be seen in rows (that a delivery was stored before its
answer, that a status read costs one query) is counted by the tests instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.domain.credits import EntryKind
from service.domain.job import FINAL, SETTLES, STATUS, JobState, Settlement, Status


class Invariant(StrEnum):
    """What must hold; the value says it in words."""

    BALANCED = "available + reserved + captured = granted, and the ledger agrees"
    SETTLED_ONCE = "at most one settlement per job, of its full price"
    DELIVERED = "captured = ready = stored with its size and hash = in the library"
    MOVING = "every unfinished job has a due time (a lease sets one) or a person (parked)"
    ACCEPTED_IS_KEPT = "every stored delivery is handled, due or parked"
    PURGED = "every deleted video is gone, or due to be removed everywhere"
    CLOSED_BY_VERDICT = "every job without a video was released, and says why"


@dataclass(frozen=True, slots=True)
class Violation:
    invariant: Invariant
    subject: str
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditAccount:
    """An account beside what its ledger entries and unfinished jobs add up to."""

    name: str
    granted: int
    available: int
    reserved: int
    captured: int
    in_flight: int
    entries: Mapping[EntryKind, int]
    open_jobs: int
    open_credits: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditJob:
    """A job beside its settlement and its library row."""

    id: str
    state: JobState
    status: Status
    credits: int
    parked: bool
    due: datetime | None
    taken_over: bool
    has_error: bool
    object_key: str | None
    object_size: int | None
    object_sha256: str | None
    settlement: Settlement | None
    settled_credits: int | None
    library_key: str | None
    deleted: bool = False
    purge_due: datetime | None = None
    purged: bool = False

    @property
    def ended_before_us(self) -> bool:
        """Ended in the old system, which kept neither ledger nor object facts."""
        return self.taken_over and self.state in FINAL and self.settlement is None


def check_account(account: AuditAccount) -> list[Violation]:
    """Violations of one account's arithmetic."""
    entries = account.entries
    granted = entries.get(EntryKind.GRANT, 0)
    reserved = entries.get(EntryKind.RESERVE, 0)
    captured = entries.get(EntryKind.CAPTURE, 0)
    released = entries.get(EntryKind.RELEASE, 0)
    refunded = entries.get(EntryKind.REFUND, 0)  # captured before, and still on the ledger as such
    held = reserved - captured - released
    pairs = {
        "granted": (account.granted, granted),
        "captured": (account.captured, captured - refunded),
        "reserved": (account.reserved, held),
        "reserved, by unfinished jobs": (account.reserved, account.open_credits),
        "available": (account.available, granted - reserved + released + refunded),
        "sum": (account.available + account.reserved + account.captured, account.granted),
        "in flight": (account.in_flight, account.open_jobs),
    }
    problems = [
        f"{name}: {has}, but should be {should}"
        for name, (has, should) in pairs.items()
        if has != should
    ]
    if min(account.available, account.reserved, account.captured) < 0:
        problems.append("a negative amount")
    return [Violation(Invariant.BALANCED, account.name, problem) for problem in problems]


def check_job(job: AuditJob) -> list[Violation]:
    """Violations visible on one job's rows. Whether the object exists is asked of the bucket."""
    found = _purge_problems(job)
    if not job.ended_before_us:
        found += [
            *_settlement_problems(job),
            *_delivery_problems(job),
            *_movement_problems(job),
        ]
    return [Violation(invariant, job.id, problem) for invariant, problem in found]


def _settlement_problems(job: AuditJob) -> list[tuple[Invariant, str]]:
    should = SETTLES.get(job.state)
    problems = []
    if job.settlement != should:
        problems.append((Invariant.SETTLED_ONCE, f"{job.state} with settlement {job.settlement}"))
    elif should is not None and job.settled_credits != job.credits:
        problems.append(
            (Invariant.SETTLED_ONCE, f"settled {job.settled_credits} of {job.credits} credits")
        )
    if should is Settlement.RELEASE and not job.has_error:
        problems.append((Invariant.CLOSED_BY_VERDICT, "ended without a reason"))
    return problems


def _delivery_problems(job: AuditJob) -> list[tuple[Invariant, str]]:
    problems = []
    if (job.library_key is not None) != (job.state is JobState.READY and not job.deleted):
        problems.append(f"{job.state}, library: {job.library_key}")
    if job.state is JobState.READY:
        if not job.object_key or not job.object_size or not job.object_sha256:
            problems.append("ready without key, size and hash")
        elif job.library_key not in {None, job.object_key}:
            problems.append("the library names another object")
    return [(Invariant.DELIVERED, problem) for problem in problems]


def _purge_problems(job: AuditJob) -> list[tuple[Invariant, str]]:
    problems = []
    if job.deleted and job.state not in FINAL:
        problems.append(f"deleted while {job.state}")
    if job.deleted and not job.purged and job.purge_due is None:
        problems.append("deleted, and nothing will remove what it left")
    if not job.deleted and (job.purged or job.purge_due is not None):
        problems.append("purged, and not deleted")
    return [(Invariant.PURGED, problem) for problem in problems]


def _movement_problems(job: AuditJob) -> list[tuple[Invariant, str]]:
    problems = []
    moves = job.due is not None or job.parked  # a lease sets the due time to its own end
    if (job.state not in FINAL) and not moves:
        problems.append("nothing will move it")
    if job.state in FINAL and (job.due is not None or job.parked):
        problems.append("has ended and is still due or parked")
    if job.status is not STATUS[job.state]:
        problems.append(f"status {job.status} at state {job.state}")
    return [(Invariant.MOVING, problem) for problem in problems]
