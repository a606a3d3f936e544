"""The one road from a verdict to the job: webhook, sweep and redrive all end here."""

import logging
from dataclasses import dataclass

from service.domain.job import Job, JobError, JobState, refunded
from service.domain.policy import MAX_BROKEN_REQUESTS
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
from service.ports import Applied, Grounds, Services

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a verdict comes from: fal's request, our attempt, and the inbox entry, if any."""

    request_id: str
    attempt: int
    entry_id: str | None = None


async def conclude(services: Services, job: Job, source: Source, verdict: Verdict) -> str:
    """Apply what fal said about one request of a job; what became of it, for the log.

    A video counts whichever attempt it is from. Everything else counts only for the attempt
    under way: late words about an earlier one must not end its successor. What moves the job
    closes the inbox entry in the same transaction. Repeating any of this changes nothing.
    """
    if isinstance(verdict, Rendered):
        return await _rendered(services, job, source, verdict.source_url)
    if source.attempt != job.submit_attempts or job.is_final:
        return await _note(services, source, "superseded")
    outcome = "pending"
    match verdict:
        case Refused(error):
            return await _close(services, job, source, error)
        case Broke(reason):
            return await _broke(services, job, source, reason)
        case Unusable(reason):
            outcome = "parked" if await services.store.park(job, reason) else "superseded"
            log.error("a success without a video", extra={"job_id": job.id, "outcome": outcome})
        case Missing():
            await services.store.make_due(job.id)
            outcome = "missing"
        case Pending():
            pass
    return await _note(services, source, outcome)


async def _note(services: Services, source: Source, outcome: str) -> str:
    """Close the entry of a delivery that moves nothing."""
    if source.entry_id is not None:
        await services.store.close_delivery(source.entry_id, outcome)
    return outcome


async def _rendered(services: Services, job: Job, source: Source, source_url: str | None) -> str:
    applied = await services.store.apply_rendered(
        job.id, source.request_id, source_url, entry_id=source.entry_id
    )
    facts = {"job_id": job.id, "request_id": source.request_id}
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


async def _broke(services: Services, job: Job, source: Source, reason: str) -> str:
    """The request ended without a video through no fault of its input: try anew, not for ever."""
    broken = len({*job.past_requests, source.request_id})
    if job.start_image_key is None or broken >= MAX_BROKEN_REQUESTS:
        log.warning("provider failed", extra={"job_id": job.id, "reason": reason})
        error = JobError(code="provider_failed", message="The provider failed to render this.")
        return await _close(services, job, source, error)
    moved = await void_attempt(
        services, job, reason, request_id=source.request_id, entry_id=source.entry_id
    )
    return "void" if moved else "superseded"


async def _close(services: Services, job: Job, source: Source, error: JobError) -> str:
    return await services.store.close_unfilled(
        job.id,
        JobState.FAILED,
        refunded(error, job.credits),
        Grounds(attempt=source.attempt, request_id=source.request_id, entry_id=source.entry_id),
    )
