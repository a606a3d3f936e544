"""The one road from a verdict to the job: webhook, sweep and redrive all end here."""

import logging
from dataclasses import dataclass

from service.domain.job import CANCELLED, Job, JobError, JobState, refunded
from service.domain.policy import MAX_BROKEN_REQUESTS
from service.domain.verdict import (
    Broke,
    Missing,
    Pending,
    Refused,
    Rendered,
    Stopped,
    Unusable,
    Verdict,
)
from service.domain.write_offs import Reason, WriteOff
from service.flows.cancel import stop_surplus
from service.flows.late import recover
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
    if _ends_a_cancelled_job(job, verdict):
        return await _end(services, job, source, CANCELLED, to=JobState.CANCELLED)
    match verdict:
        case Refused(error):
            # A model that spends time on an input before refusing it may bill that time.
            return await _end(services, job, source, error, cost=Reason.REFUSED)
        case Broke() | Stopped():
            return await _broke(services, job, source, verdict)
        case Unusable() | Missing() | Pending():
            return await _note(services, source, await _unsettled(services, job, verdict))


async def _unsettled(services: Services, job: Job, verdict: Unusable | Missing | Pending) -> str:
    """What to do about words that end nothing."""
    match verdict:
        case Unusable(reason):
            outcome = "parked" if await services.store.park(job, reason) else "superseded"
            log.error("a success without a video", extra={"job_id": job.id, "outcome": outcome})
            return outcome
        case Missing():
            await services.store.make_due(job.id)
            return "missing"
        case Pending():
            return "pending"


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
            other = job.submission
            if other is not None and other.request_id != source.request_id:
                await stop_surplus(services, job, other)
        case Applied.LATE:
            return await recover(services, job, source.request_id, source_url, source.entry_id)
        case Applied.UNWANTED:
            return await _end(
                services, job, source, CANCELLED, to=JobState.CANCELLED, cost=Reason.UNWANTED
            )
        case Applied.SURPLUS:
            log.error("a second request of this job made a video too", extra=facts)
        case _:
            log.info("verdict repeated", extra=facts)
    return applied


async def _broke(services: Services, job: Job, source: Source, verdict: Broke | Stopped) -> str:
    """The request ended without a video through no fault of its input: try anew, not for ever."""
    reason = verdict.reason if isinstance(verdict, Broke) else "somebody stopped it at fal"
    broken = len({*job.past_requests, source.request_id})
    if job.start_image_key is None or broken >= MAX_BROKEN_REQUESTS:
        log.warning("provider failed", extra={"job_id": job.id, "reason": reason})
        error = JobError(code="provider_failed", message="The provider failed to render this.")
        return await _end(services, job, source, error)
    moved = await void_attempt(
        services, job, reason, request_id=source.request_id, entry_id=source.entry_id
    )
    return "void" if moved else "superseded"


def _ends_a_cancelled_job(job: Job, verdict: Verdict) -> bool:
    """Whether nothing more is to come of a job that its owner gave up."""
    if job.if_finished is None:
        return False
    removed = isinstance(verdict, Missing) and job.cancel_accepted  # it was still queued
    return removed or isinstance(verdict, Stopped | Broke)


async def _end(
    services: Services,
    job: Job,
    source: Source,
    error: JobError,
    *,
    to: JobState = JobState.FAILED,
    cost: Reason | None = None,
) -> str:
    grounds = Grounds(
        # A video that nobody wants counts whichever attempt it is from.
        attempt=None if cost is Reason.UNWANTED else source.attempt,
        request_id=source.request_id,
        entry_id=source.entry_id,
        cost=None
        if cost is None
        else WriteOff(
            job_id=job.id, request_id=source.request_id, reason=cost, credits=job.credits
        ),
    )
    return await services.store.close_unfilled(job.id, to, refunded(error, job.credits), grounds)
