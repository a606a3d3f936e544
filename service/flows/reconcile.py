"""The fallback: find what should have moved by now, and take it down the ordinary road."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

from service.domain.errors import InputHidden, Transient
from service.domain.job import Job, JobState, Submission
from service.domain.policy import (
    DELIVERY_RETRY_S,
    LOOKUPS_TO_PROVE_ABSENCE,
    POSTER_AGE_S,
    POSTER_RETRY_S,
    STOOD_STILL_S,
    SUBMIT_UNKNOWN_GRACE_S,
    SWEEP_BATCH,
    SWEEP_CONCURRENCY,
    delayed,
)
from service.domain.seal import owner_name
from service.domain.verdict import Broke, Missing, Refused, Stopped
from service.flows import pauses
from service.flows.cancel import close_cancelled, stop
from service.flows.conclude import Source, conclude
from service.flows.delete import empty_account, purge
from service.flows.receive import handle
from service.flows.submit import adopt, send, void_attempt
from service.ports import CancelAnswer, Listed, Services
from service.ports.signals import Count, Span

T = TypeVar("T")

log = logging.getLogger(__name__)

# Around the attempt: our clock and fal's may differ, and the POST takes a moment. A window of
# bounded length keeps the listing short however long the job has waited.
LISTING_MARGIN: Final = timedelta(minutes=2)
# How long after an older backup's last word about a job the lost attempt is looked for.
RESTORED_REACH: Final = timedelta(hours=1)


@dataclass(slots=True)
class Sweep:
    """What one pass did; logged and asserted on."""

    beat: Callable[[], None] = lambda: None
    deliveries: int = 0
    jobs: int = 0
    removals: int = 0  # deleted jobs and closed accounts that something was left of
    problems: int = 0
    actions: dict[str, int] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether there may be more that is due than one pass takes."""
        return max(self.jobs, self.deliveries, self.removals) >= SWEEP_BATCH

    def count(self, action: str) -> None:
        self.actions[action] = self.actions.get(action, 0) + 1


async def sweep_once(services: Services, beat: Callable[[], None] = lambda: None) -> Sweep:
    """One pass over what is due: at most a batch each of deliveries, jobs and removals.

    `beat` is called whenever one item of them is done.

    Work that takes long is only nudged. Several sweeps may run at once; whatever one takes, it
    puts off for the others. A failure at one job is logged and leaves the others alone. Raises
    Transient if the database is away.
    """
    sweep = Sweep(beat=beat)
    store = services.store
    swept_since = await store.note_sweep(gap_s=STOOD_STILL_S)
    entries = await store.due_deliveries(SWEEP_BATCH, retry_in_s=DELIVERY_RETRY_S)
    sweep.deliveries = len(entries)
    await _each(
        sweep,
        entries,
        lambda entry_id: _deliver(services, entry_id),
        lambda entry_id: {"entry_id": entry_id},
    )
    leave = await pauses.states_left_alone(services)
    jobs = await store.due_jobs(SWEEP_BATCH, services.policy.sweep_delays_s, leave=leave)
    sweep.jobs = len(jobs)
    await _each(
        sweep,
        jobs,
        lambda job: move_on(services, job, swept_since),
        lambda job: {"job_id": job.id},
    )
    await _remove(services, sweep)
    await _thumbnails(services, sweep)
    services.signals.count(Count.SWEEPS)
    services.signals.count(Count.SWEEP_PROBLEMS, sweep.problems)
    if sweep.jobs or sweep.deliveries or sweep.removals:
        log.info(
            "swept",
            extra={
                "deliveries": sweep.deliveries,
                "jobs": sweep.jobs,
                "removals": sweep.removals,
                "problems": sweep.problems,
                **sweep.actions,
            },
        )
    return sweep


async def move_on(services: Services, job: Job, swept_since: datetime) -> str:
    """Do what a due job's state asks for; the name of what was done."""
    match job.state:
        case JobState.RESERVED:
            return await _submit(services, job, swept_since)
        case JobState.SUBMITTING:
            return await _note_unknown(services, job)
        case JobState.SUBMIT_UNKNOWN:
            return await _look_up(services, job)
        case JobState.SUBMITTED:
            return await _check(services, job)
        case JobState.RENDERED:
            # Transfers have a worker of their own: a slow one must not hold up the sweep.
            services.nudge.finalisation(job.id)
            return "finalising"
        case JobState.READY | JobState.FAILED | JobState.CANCELLED:
            return "nothing"


async def _remove(services: Services, sweep: Sweep) -> None:
    """What deleting has left to do: the oldest first, a batch of either kind."""
    due = await services.store.due_removals(SWEEP_BATCH)
    sweep.removals = max(len(due.accounts), len(due.jobs))
    key = services.policy.seal_key
    await _each(
        sweep,
        due.accounts,
        lambda email: empty_account(services, email),
        lambda email: {"owner": owner_name(key, email)},
    )
    await _each(
        sweep,
        due.jobs,
        lambda job_id: _purge(services, job_id),
        lambda job_id: {"job_id": job_id},
    )


async def _thumbnails(services: Services, sweep: Sweep) -> None:
    """Last, and at most a batch: videos whose thumbnail was not made when they were ready."""
    if services.poster is None:
        return
    missing = await services.store.due_thumbnails(
        SWEEP_BATCH,
        attempts=len(POSTER_RETRY_S),
        age_s=POSTER_AGE_S,
        retry_in_s=POSTER_RETRY_S[0],
    )
    for job_id in missing:
        services.nudge.afterwards(job_id)
        sweep.count("thumbnail")


async def _purge(services: Services, job_id: str) -> str:
    return "purged" if await purge(services, job_id) else "nothing"


async def _deliver(services: Services, entry_id: str) -> str:
    return "handled" if await handle(services, entry_id) else "nothing"


def _may_be_restored(job: Job, swept_since: datetime) -> bool:
    """Whether the row may be an older copy of one that was sent on.

    It has stood still for long, and nobody looked at it meanwhile: a job that only waits, in line
    or for the end of a pause, is looked at all the time.
    """
    stood_still_s = (job.read_at - job.updated_at).total_seconds()
    return stood_still_s > STOOD_STILL_S and job.updated_at < swept_since


async def _submit(services: Services, job: Job, swept_since: datetime) -> str:
    if job.if_finished is not None:
        return "cancelled" if await close_cancelled(services, job) else "nothing"
    if _may_be_restored(job, swept_since) and (
        listed := await _current(services, job, RESTORED_REACH)
    ):
        return await _adopt(services, job, listed)
    return "submitted" if await send(services, job.id) else "nothing"


async def _note_unknown(services: Services, job: Job) -> str:
    """The submitter died with its POST possibly on the wire; that has ended by now, so look."""
    noted = await services.store.submission_unknown(
        job.id, job.submit_attempts, "no outcome was recorded", grace_s=SUBMIT_UNKNOWN_GRACE_S
    )
    return await _look_up(services, await services.store.job(job.id)) if noted else "nothing"


async def _check(services: Services, job: Job) -> str:
    """Ask fal about a job whose webhook should have come."""
    assert job.submission is not None, "a submitted job knows its request"
    if job.fal_model is None:
        await services.store.park(job, "the job's model is not known")
        return "parked"
    if job.if_finished is not None and await stop(services, job.id) is CancelAnswer.REQUESTED:
        return "stopped"
    with services.signals.span(Span.CHECK, job.id):
        verdict = await services.fal.check(job.fal_model, job.submission)
    source = _source(job, job.submission.request_id)
    if isinstance(verdict, Missing):
        # fal may have taken it from its queue while we asked: then there is nothing to search.
        job = await services.store.job(job.id)
        if job.state is not JobState.SUBMITTED:
            return "nothing"
        if not job.cancel_accepted:
            return await _look_up(services, job)
    return await conclude(services, job, source, verdict)


async def _look_up(services: Services, job: Job) -> str:
    """Find the job's request in fal's own listing, by the start image that only it has."""
    if job.fal_model is None or job.start_image_key is None:
        await services.store.park(job, "fal does not know the request, and it cannot be searched")
        return "parked"
    current = await _current(services, job)
    if current is not None:
        return await _adopt(services, job, current)
    apart_s = services.policy.lookup_apart_s
    looks = await services.store.count_lookup(job, apart_s=apart_s, again_in_s=delayed(apart_s))
    if looks < LOOKUPS_TO_PROVE_ABSENCE:
        return "absent"
    if job.submission is not None and job.if_finished is not None:
        return await conclude(services, job, _source(job, job.submission.request_id), Stopped())
    if job.state is JobState.SUBMITTED:
        await services.store.park(
            job, "fal lost the request: neither its queue nor its list has it"
        )
        return "parked"
    await void_attempt(services, job, "fal's listing does not have the request")
    return "void"


async def _current(
    services: Services, job: Job, reach: timedelta = LISTING_MARGIN
) -> Listed | None:
    """The request in fal's listing that speaks for the job's attempt, if there is one."""
    if job.fal_model is None or job.start_image_key is None:
        return None
    attempted_at = job.attempted_at or job.submitted_at or job.created_at
    listed = await _listed(services, job, attempted_at - LISTING_MARGIN, attempted_at + reach)
    known = None if job.submission is None else job.submission.request_id
    fresh = [each for each in listed if each.request_id not in job.past_requests]
    if known is not None:
        return next((each for each in fresh if each.request_id == known), None)
    # An earlier attempt, given up as absent, may show up late beside the current one: what ended
    # badly speaks for the job only if nothing else does.
    ended_badly = (Refused, Broke)
    return min(fresh, key=lambda each: isinstance(each.verdict, ended_badly), default=None)


async def _listed(services: Services, job: Job, since: datetime, until: datetime) -> list[Listed]:
    """What fal lists with the job's image. Requests that were deleted show nothing; never mind."""
    assert job.fal_model is not None, "only a job with a model and an image is looked for"
    assert job.start_image_key is not None, "only a job with a model and an image is looked for"
    search = partial(services.fal.find, job.fal_model, job.start_image_key, since, until)
    try:
        return await search()
    except InputHidden as hidden:
        forgotten = await services.store.forgotten(hidden.request_ids)
        if forgotten != hidden.request_ids:
            raise
        return await search(forgotten=forgotten)


async def _adopt(services: Services, job: Job, listed: Listed) -> str:
    await adopt(services, job, Submission(request_id=listed.request_id))
    log.info("submission found at fal", extra={"job_id": job.id, "request_id": listed.request_id})
    await conclude(services, job, _source(job, listed.request_id), listed.verdict)
    return "adopted"


def _source(job: Job, request_id: str) -> Source:
    return Source(request_id=request_id, attempt=job.submit_attempts)


async def _each(
    sweep: Sweep,
    items: Sequence[T],
    act: Callable[[T], Coroutine[Any, Any, str]],
    name: Callable[[T], dict[str, str]],
) -> None:
    gate = asyncio.Semaphore(SWEEP_CONCURRENCY)

    async def one(item: T) -> None:
        async with gate:
            try:
                sweep.count(await act(item))
            except Transient as error:
                sweep.problems += 1
                log.warning("sweep: put off", extra={**name(item), "reason": str(error)})
            except Exception:
                # A bug met at one job must not keep the others waiting; its row stays due.
                sweep.problems += 1
                log.exception("sweep: failed", extra=name(item))
            sweep.beat()

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))
