"""Reads everything back and checks the invariants, by count."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from service.domain.audit import (
    AuditJob,
    Invariant,
    Violation,
    check_account,
    check_job,
)
from service.domain.errors import ObjectConflict
from service.domain.job import FINAL, JobState
from service.domain.seal import is_poster, job_of
from service.ports import AuditStore, Bucket

UNFINISHED: Final = frozenset(JobState) - FINAL
PAGE: Final = 200  # rows; decoding more at once would hold up the event loop
ACCOUNTS_PAGE: Final = 50  # each is summed up by the database, over all of its jobs
OBJECTS_AT_ONCE: Final = 8


@dataclass(slots=True)
class AuditReport:
    """What was looked at, and what was wrong. `objects` is 0 when no bucket was asked."""

    accounts: int = 0
    jobs: int = 0
    objects: int = 0
    deliveries_waiting: int = 0
    deliveries_parked: int = 0
    purges_waiting: int = 0  # deleted jobs that still have something to be removed
    written_off: int = 0  # credits' worth that fal may bill and nobody is charged for
    states: Counter[JobState] = field(default_factory=Counter)
    parked: int = 0
    ended_before_us: int = 0
    stored: int = 0  # videos found in the bucket, where it was searched
    violations: list[Violation] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.violations


async def audit(store: AuditStore, bucket: Bucket | None) -> AuditReport:
    """Check every account and job; with a bucket also that each video is there, and whole.

    Run it while nothing moves for an exact answer: jobs that settle between two pages can look
    inconsistent for a moment. Raises Transient if the database or the bucket is away.
    """
    report = AuditReport()
    last: str | None = None
    while accounts := await store.audit_accounts(last, ACCOUNTS_PAGE):
        report.accounts += len(accounts)
        report.violations += [each for account in accounts for each in check_account(account)]
        last = accounts[-1].name
    after: str | None = None
    while page := await store.audit_jobs(after, PAGE):
        await _check_page(report, page, bucket)
        after = page[-1].id
    stray = await store.audit_stray()
    report.deliveries_waiting = stray.waiting
    report.deliveries_parked = stray.parked
    report.purges_waiting = stray.purges
    report.written_off = stray.written_off
    report.violations += stray.violations
    return report


async def audit_bucket(report: AuditReport, store: AuditStore, bucket: Bucket) -> None:
    """Add what lies in the bucket and belongs to nobody: videos, and uploads never completed.

    After a restored backup these are videos of jobs that the database does not know.
    """
    page: list[str] = []
    posters: list[str] = []
    async for key in bucket.library():
        if is_poster(key):
            posters.append(key)
            continue
        report.stored += 1
        page.append(key)
        if len(page) == PAGE:
            report.violations += await _unowned(store, page, UNFINISHED | {JobState.READY})
            page = []
    report.violations += await _unowned(store, page, UNFINISHED | {JobState.READY})
    for start in range(0, len(posters), PAGE):
        report.violations += await _unknown_posters(store, posters[start : start + PAGE])
    uploads = await bucket.unfinished_uploads()
    report.violations += await _unowned(store, uploads, UNFINISHED)


async def _unowned(
    store: AuditStore, keys: list[str], states: frozenset[JobState]
) -> list[Violation]:
    """What belongs to no job in one of these states."""
    owners = await store.audit_owners([job_of(key) for key in keys], states)
    problem = "a video of no job" if JobState.READY in states else "an upload nobody will complete"
    return [
        Violation(Invariant.DELIVERED, key, problem) for key in keys if job_of(key) not in owners
    ]


async def _unknown_posters(store: AuditStore, keys: list[str]) -> list[Violation]:
    """Those whose job neither names them nor is still to get a thumbnail, or to lose it."""
    owners = await store.audit_poster_owners([job_of(key) for key in keys])
    return [
        Violation(Invariant.DELIVERED, key, "a thumbnail of no video")
        for key in keys
        if job_of(key) not in owners
    ]


async def _check_page(report: AuditReport, page: list[AuditJob], bucket: Bucket | None) -> None:
    for job in page:
        report.jobs += 1
        report.states[job.state] += 1
        report.parked += job.parked
        report.ended_before_us += job.ended_before_us
        report.violations += check_job(job)
    if bucket is None:
        return
    gate = asyncio.Semaphore(OBJECTS_AT_ONCE)

    async def look(job: AuditJob) -> Violation | None:
        async with gate:
            report.objects += 1
            return await _check_object(bucket, job)

    stored = [job for job in page if job.object_sha256 is not None and not job.deleted]
    found = await asyncio.gather(*(look(job) for job in stored))
    report.violations += [each for each in found if each is not None]


async def _check_object(bucket: Bucket, job: AuditJob) -> Violation | None:
    assert job.object_key is not None, "an object's hash is recorded with its key"
    try:
        found = await bucket.find_video(job.object_key, job.id)
    except ObjectConflict as error:
        return Violation(Invariant.DELIVERED, job.id, str(error))
    if found is None:
        return Violation(Invariant.DELIVERED, job.id, "its object is missing")
    if (found.size, found.sha256) != (job.object_size, job.object_sha256):
        return Violation(Invariant.DELIVERED, job.id, "its object has other bytes")
    return None
