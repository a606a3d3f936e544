"""The one road from a verdict to the job: webhook, sweep and redrive all end here."""

import logging
from typing import Final

from service.domain.job import Job, JobError, JobState, refunded
from service.domain.policy import MAX_SUBMIT_ATTEMPTS
from service.domain.verdict import (
    Broke,
    Missing,
    Pending,
    Refused,
    Rendered,
    Unusable,
    Verdict,
)
from service.flows.submit import void_attempt
from service.ports import Applied, Services

log = logging.getLogger(__name__)

# 5xx and queue time are never billed by fal, so a broken request may be tried again; but a
# model that breaks on this input three times will not render it on the fourth.
MAX_BROKEN_ATTEMPTS: Final = 3


async def conclude(
    services: Services,
    job: Job,
    request_id: str,
    verdict: Verdict,
    *,
    entry_id: str | None = None,
) -> str:
    """Apply what fal said about one request of a job; what became of it, for the log.

    A verdict that moves the job closes the inbox entry in the same transaction. Repeating any
    of this changes nothing.
    """
    store = services.store
    outcome: str
    match verdict:
        case Rendered(source_url):
            applied = await store.apply_rendered(job.id, request_id, source_url, entry_id=entry_id)
            return _rendered(services, job, request_id, applied)
        case Refused(error):
            return await store.close_unfilled(
                job.id,
                JobState.FAILED,
                refunded(error, job.credits),
                request_id=request_id,
                entry_id=entry_id,
            )
        case Broke(reason):
            outcome = await _broke(services, job, request_id, reason)
        case Unusable(reason):
            await store.park(job, reason)
            log.error("job parked", extra={"job_id": job.id, "reason": reason})
            outcome = "parked"
        case Missing():
            await store.make_due(job.id)
            outcome = "missing"
        case Pending():
            outcome = "pending"
    if entry_id is not None:
        await store.close_delivery(entry_id, outcome)
    return outcome


def _rendered(services: Services, job: Job, request_id: str, applied: Applied) -> str:
    facts = {"job_id": job.id, "request_id": request_id}
    match applied:
        case Applied.RENDERED:
            services.nudge.finalisation(job.id)
        case Applied.LATE:
            log.error("a video arrived for a job that has ended without one", extra=facts)
        case Applied.SURPLUS:
            log.error("a second request of this job made a video too", extra=facts)
        case _:
            log.info("verdict repeated", extra=facts)
    return applied


async def _broke(services: Services, job: Job, request_id: str, reason: str) -> str:
    """The request ended without a video through no fault of its input: try anew, not for ever."""
    if job.submission is not None and job.submission.request_id != request_id:
        return "superseded"
    if job.start_image_key is None or job.submit_attempts >= MAX_BROKEN_ATTEMPTS:
        error = JobError(code="provider_failed", message="The provider failed to render this.")
        log.warning("provider failed", extra={"job_id": job.id, "reason": reason})
        return await services.store.close_unfilled(
            job.id, JobState.FAILED, refunded(error, job.credits), request_id=request_id
        )
    assert job.submit_attempts < MAX_SUBMIT_ATTEMPTS, "broken attempts end before the others"
    await void_attempt(services, job, reason)
    return "void"
