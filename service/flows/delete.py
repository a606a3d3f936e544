"""Deleting a video end to end: off its owner's list at once, then out of every place it lies in.

The row that says it is deleted is the work: it stays due until the bucket, the inbox and fal have
nothing of the job any more. Every step repeats harmlessly. What tells where credits went stays:
the ledger, and the job's row without what is personal on it.
"""

import logging

from service.domain.errors import NotFound, StillRunning, TooLate, Transient
from service.domain.job import IfFinished, Job
from service.domain.policy import (
    CLOSING_RETRY_S,
    FORGET_ATTEMPTS,
    PURGE_ALARM_ATTEMPTS,
    PURGE_RETRY_S,
    SWEEP_BATCH,
    jittered,
)
from service.domain.seal import library_key, owner_prefix, poster_key
from service.flows.cancel import cancel, give_up
from service.flows.late import successor_id
from service.flows.receive import handle
from service.ports import Deleted, Services

log = logging.getLogger(__name__)


async def delete(services: Services, job: Job) -> None:
    """Take an ended job off its owner's list; what it left elsewhere is removed soon after.

    Somebody else who deletes it at the same moment changes nothing. Raises StillRunning.
    """
    deleted = await services.store.begin_delete(job.id)
    if deleted is Deleted.UNFINISHED:
        raise StillRunning("this video is still being made: cancel it first")
    services.nudge.purge(job.id)
    log.info("deleted", extra={"job_id": job.id, "outcome": deleted.value})


async def purge(services: Services, job_id: str) -> bool:
    """Remove what a deleted job left elsewhere; whether nothing of it is left.

    The attempt is counted first, and the next one put off, so a failure needs no writing down.
    False also if it is not due: done, or somebody else is at it. Raises Transient only if the
    database is away at the start.
    """
    delays_s = tuple(jittered(each) for each in PURGE_RETRY_S)
    job = await services.store.take_purge(job_id, delays_s)
    if job is None:
        return False
    try:
        kept = await _remove_everything(services, job)
        done = await services.store.finish_purge(job, kept)
    except Transient as error:
        _put_off(job, str(error))
        return False
    facts = {"job_id": job.id, "attempt": job.purge_attempts, "done": done, "payload_kept": kept}
    log.log(logging.INFO if kept is None else logging.ERROR, "purged", extra=facts)
    return done


async def empty_account(services: Services, email: str) -> str:
    """Do what can be done now about a closed account's jobs; what that was, for the log.

    Ended ones are deleted. Of all others the owner is taken to have given up the video: fal is
    asked to stop, and what comes of it all the same is found ended at a later look.
    """
    store = services.store
    retry_in_s = jittered(CLOSING_RETRY_S)
    jobs = await store.take_closing(email, SWEEP_BATCH, retry_in_s=retry_in_s)
    for job in jobs or ():
        if job.is_final:
            await delete(services, job)
        elif job.parked:
            await give_up(store, job)
        else:
            await _give_up_if_possible(services, job)
    return "emptied" if jobs else "nothing"


async def _give_up_if_possible(services: Services, job: Job) -> None:
    try:
        await cancel(services, job.id, IfFinished.DISCARD)
    except TooLate:  # its video is there by now: it is finished, and then deleted
        log.info("a closed account's video is made all the same", extra={"job_id": job.id})


async def _remove_everything(services: Services, job: Job) -> str | None:
    """One attempt at every place. Raises Transient; says why fal keeps its copy, if it does."""
    await _handle_what_came(services, job)
    requests = await services.store.empty_deliveries(job)
    sibling = await _sibling(services, job)
    await _remove_objects(services, job, sibling)
    return await _forget_at_fal(services, job, requests, sibling)


async def _handle_what_came(services: Services, job: Job) -> None:
    """Read deliveries that wait, for the scheduler or for a person, before they are emptied.

    What fal bills for is written off on their word. Nobody can redrive them any more.
    """
    for entry_id in await services.store.unhandled_deliveries(job.id):
        await services.store.redrive_delivery(entry_id)
        await handle(services, entry_id)


async def _sibling(services: Services, job: Job) -> Job | None:
    """The other one of an ended job and the job that delivers its late video, unless deleted.

    The two have the start image and fal's request in common, and nothing else is shared at all.
    """
    try:
        sibling = await services.store.job(job.recovers or successor_id(job.id))
    except NotFound:
        return None
    return None if sibling.is_deleted else sibling


async def _remove_objects(services: Services, job: Job, sibling: Job | None) -> None:
    """Uploads that a dead process began go first: one who hangs cannot complete them then."""
    key = job.object_key or library_key(owner_prefix(services.policy.seal_key, job.email), job.id)
    await services.bucket.abort_leftovers(key)
    keys = [key, poster_key(key)]
    if job.start_image_key is not None and sibling is None:
        keys.append(job.start_image_key)
    for each in keys:
        await services.bucket.delete(each)


async def _forget_at_fal(
    services: Services, job: Job, requests: frozenset[str], sibling: Job | None
) -> str | None:
    """Have fal delete each request's input and result; why it keeps some, if asking was no use."""
    known = requests | set(job.past_requests)
    if job.submission is not None:
        known |= {job.submission.request_id}
    if sibling is not None and sibling.submission is not None and not sibling.is_final:
        known -= {sibling.submission.request_id}  # its video is still to be fetched
    kept = None
    for request_id in sorted(known - await services.store.forgotten(known)):
        refusal = await services.fal.forget(request_id)
        if refusal is None:
            await services.store.note_forgotten(job.id, request_id)
        kept = refusal or kept
    if kept is not None and job.purge_attempts < FORGET_ATTEMPTS:
        raise Transient(kept)
    return kept


def _put_off(job: Job, reason: str) -> None:
    alarm = job.purge_attempts >= PURGE_ALARM_ATTEMPTS
    facts = {"job_id": job.id, "attempt": job.purge_attempts, "reason": reason}
    log.log(logging.ERROR if alarm else logging.WARNING, "purge put off", extra=facts)
