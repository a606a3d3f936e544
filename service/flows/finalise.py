"""Turn a rendered job into a ready one: lease, download, upload, settle. Safe to repeat anywhere.

A crash after any line leaves a row that says what is next: the lease runs out, the next holder
has a higher fence, finds the object if it was stored, and only the settlement touches money.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from service.domain.errors import (
    DependencyDown,
    NotAVideo,
    ServiceError,
    SourceGone,
    SourceRefused,
    SourceTooLarge,
    Transient,
)
from service.domain.job import Job, JobError, JobState, refunded
from service.domain.pauses import Activity, Gate
from service.domain.policy import (
    DEPENDENCY_RETRY_S,
    FINALISE_RETRY_S,
    GONE_ATTEMPTS,
    GONE_RETRY_S,
    MAX_FINALISE_ATTEMPTS,
    backoff,
)
from service.domain.seal import library_key, owner_prefix
from service.domain.verdict import Rendered
from service.domain.write_offs import Reason, WriteOff
from service.flows import pauses
from service.flows.telling import Ended, Telling
from service.ports import Grounds, Services, Settled, StoredObject
from service.ports.signals import Span

T = TypeVar("T")

log = logging.getLogger(__name__)

HEARTBEATS_PER_LEASE: Final = 3  # two may be lost before the lease is


class LeaseLost(Exception):
    """Somebody else may be finalising this job by now: stop, change nothing."""


async def finalise(services: Services, job_id: str, holder: str) -> bool:
    """Finalise one job; False when there was nothing for us to do, or it did not work yet.

    `holder` names this process in the lease. While finalising is paused nothing is done. When
    cancelled (a drained stop) the lease is given
    back at once. Failures put the job off, park it or fail it. Raises Transient only if the
    database is away, in which case the lease runs out by itself.
    """
    gate = await pauses.enter(services, Activity.FINALISING)
    if gate is Gate.SHUT:
        return False
    telling = Telling()
    with telling.phase("lease"):
        job = await services.store.lease(job_id, holder, lease_s=services.policy.lease_s)
    if job is None:
        return False
    if job.finalise_attempts > MAX_FINALISE_ATTEMPTS:
        reason = "finalisation was attempted too often"
        telling.ended(services, job, await _park(services, job, reason), reason)
        return False
    with services.signals.span(Span.FINALISE, job.id, attempt=job.finalise_attempts):
        settled = await _finalise(services, job, gate, telling)
    if settled:
        services.nudge.afterwards(job.id)
    return settled


async def _finalise(services: Services, job: Job, gate: Gate, telling: Telling) -> bool:
    """Copy and settle under the lease; whether it was this attempt that settled."""
    signals = services.signals
    try:
        with telling.phase("copy"), signals.span(Span.COPY, job.id):
            stored = await _while_leased(services, job, _stored_video(services, job))
        with telling.phase("settle"), signals.span(Span.SETTLE, job.id):
            settled = await services.store.settle_ready(job.id, job.fence, stored)
    except asyncio.CancelledError:
        stopped = _give_back(services, job, "the process is stopping", 0, counted=False)
        telling.ended(services, job, await asyncio.shield(stopped), "the process is stopping")
        raise
    except (LeaseLost, ServiceError) as error:
        if isinstance(error, DependencyDown) and error.pauses is Activity.FINALISING:
            await pauses.failed(services, Activity.FINALISING, gate, str(error))
        outcome = await _not_yet(services, job, error)
        telling.ended(services, job, outcome, _words(error))
        return False
    await pauses.worked(services, Activity.FINALISING, gate)
    telling.settled(services, job, settled, stored)
    return settled is Settled.SETTLED


async def _not_yet(services: Services, job: Job, error: LeaseLost | ServiceError) -> Ended:
    """What a failed attempt means: try later, ask a person, or end the job."""
    reason = _words(error)
    wait_s = backoff(FINALISE_RETRY_S, job.finalise_attempts)
    match error:
        case LeaseLost():
            outcome = Ended.LEASE_LOST
        case DependencyDown():  # everybody's trouble: this job waits without being blamed
            outcome = await _give_back(services, job, reason, DEPENDENCY_RETRY_S, counted=False)
        case SourceGone() if job.gone_attempts + 1 >= GONE_ATTEMPTS:
            outcome = await _fail(services, job, error)
        case SourceTooLarge():
            outcome = await _fail(services, job, error)
        case SourceGone():
            gone_s = backoff(GONE_RETRY_S, job.gone_attempts + 1)
            outcome = await _give_back(services, job, reason, gone_s, counted=True, gone=True)
        case NotAVideo() | Transient():
            outcome = await _give_back(services, job, reason, wait_s, counted=True)
        case _:  # an address we may not fetch, a key that is taken: nothing time will mend
            outcome = await _park(services, job, reason)
    return outcome


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


async def _stored_video(services: Services, job: Job) -> StoredObject:
    """The video as a durable object: one stored by an earlier attempt, or a new copy."""
    key = job.object_key or library_key(owner_prefix(services.policy.seal_key, job.email), job.id)
    if job.fence > 1:  # somebody was here before, and may have died
        if earlier := await services.bucket.find_video(key, job.id):
            return earlier
        await services.bucket.abort_leftovers(key)
    try:
        source_url = job.source_url or await _ask_for_source(services, job)
        return await _copy(services, job, key, source_url)
    except SourceGone:
        # Files expire and move. fal's result is asked once for where the video is now.
        return await _copy(services, job, key, await _ask_for_source(services, job))


async def _copy(services: Services, job: Job, key: str, source_url: str) -> StoredObject:
    async with services.source.fetch(source_url) as download:
        return await services.bucket.put_video(key, job.id, download)


async def _ask_for_source(services: Services, job: Job) -> str:
    """The video's address from fal's result: for an OK without one, or one that is gone."""
    if job.submission is None or job.fal_model is None:
        raise SourceRefused("fal cannot be asked for this job's result")
    verdict = await services.fal.result(job.fal_model, job.submission)
    match verdict:
        case Rendered(str(source_url)):
            await services.store.new_source(job.id, job.fence, source_url)
            return source_url
        case _:
            raise Transient(f"fal's result has no video: {verdict}")


async def _while_leased(services: Services, job: Job, work: Coroutine[Any, Any, T]) -> T:
    """The work's result, prolonging the lease meanwhile. Raises LeaseLost once it is not ours."""
    task = asyncio.create_task(work)
    heart = asyncio.create_task(_beat(services, job))
    try:
        await asyncio.wait({task, heart}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        heart.result()
        raise LeaseLost
    finally:
        for each in (task, heart):
            each.cancel()
        await asyncio.gather(task, heart, return_exceptions=True)


async def _beat(services: Services, job: Job) -> None:
    """Prolong the lease for as long as it is ours; return once it is not."""
    lease_s = services.policy.lease_s
    held_until = time.monotonic() + lease_s
    while True:
        await asyncio.sleep(lease_s / HEARTBEATS_PER_LEASE)
        try:
            if not await services.store.heartbeat(job.id, job.fence, lease_s=lease_s):
                return
            held_until = time.monotonic() + lease_s
        except Transient as error:
            # The database may be away for a moment; the lease outlives that.
            log.warning("heartbeat failed", extra={"job_id": job.id, "reason": str(error)})
            if time.monotonic() > held_until:
                return


async def _give_back(
    services: Services,
    job: Job,
    reason: str,
    retry_in_s: float,
    *,
    counted: bool,
    gone: bool = False,
) -> Ended:
    try:
        await services.store.give_back(
            job, reason, retry_in_s=retry_in_s, counted=counted, gone=gone
        )
    except Transient as error:  # then the lease runs out by itself
        log.warning("lease not given back", extra={"job_id": job.id, "reason": str(error)})
    return Ended.PUT_OFF


async def _park(services: Services, job: Job, reason: str) -> Ended:
    parked = await services.store.park(job, reason, leased=True)
    return Ended.PARKED if parked else Ended.LEASE_LOST


async def _fail(services: Services, job: Job, error: SourceGone | SourceTooLarge) -> Ended:
    """The video can never be had: close the reservation on fal's own evidence."""
    message = (
        "The provider's video was gone before it could be saved."
        if isinstance(error, SourceGone)
        else "The provider's video is larger than can be kept."
    )
    reason = refunded(JobError(code=error.code, message=message), job.credits)
    cost = None
    if job.submission is not None:
        cost = WriteOff(
            job_id=job.id,
            request_id=job.submission.request_id,
            reason=Reason.LOST,
            credits=job.credits,
        )
    grounds = Grounds(fence=job.fence, cost=cost)
    await services.store.close_unfilled(job.id, JobState.FAILED, reason, grounds)
    return Ended.FAILED
