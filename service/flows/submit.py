"""From a reserved job to fal: one POST per recorded attempt."""

import logging

from service.domain.job import Job, JobState, Submission, refunded
from service.domain.pauses import Activity, Gate
from service.domain.policy import (
    SUBMIT_RETRY_S,
    SUBMIT_UNKNOWN_GRACE_S,
    SUBMITTING_GRACE_S,
    backoff,
)
from service.domain.providers import PROVIDERS
from service.domain.seal import Sealed, seal
from service.flows import pauses
from service.flows.cancel import stop_surplus
from service.ports import (
    Accepted,
    Declined,
    Grounds,
    NotAccepted,
    Services,
    SubmitOutcome,
    Unknown,
)
from service.ports.signals import Span

log = logging.getLogger(__name__)


async def send(services: Services, job_id: str) -> bool:
    """Submit a reserved job to fal, once. False if it was not there to be submitted.

    The attempt is counted before the POST. Whatever happens after that, there is no second POST
    until this one is proven not to have been accepted. While submitting is paused, or as many
    requests are at fal as may be, the job waits.
    """
    gate = await pauses.enter(services, Activity.SUBMITTING)
    if gate is Gate.SHUT:
        return False
    job = await services.store.begin_submission(
        job_id, grace_s=SUBMITTING_GRACE_S, max_at_fal=services.policy.max_at_fal
    )
    if job is None:
        return False
    assert job.fal_model is not None, "a job is reserved with its model"
    with services.signals.span(Span.SUBMIT, job.id, attempt=job.submit_attempts):
        outcome = await services.fal.submit(
            job.fal_model, _arguments(services, job), webhook_url(services, job)
        )
    log.info(
        "submission answered",
        extra={"job_id": job.id, "attempt": job.submit_attempts, "outcome": outcome.said},
    )
    await _record(services, job, outcome)
    match outcome:
        case NotAccepted(reason, locked=True):
            await pauses.failed(services, Activity.SUBMITTING, gate, reason)
        case Accepted() | Declined():
            await pauses.worked(services, Activity.SUBMITTING, gate)
        case NotAccepted() | Unknown():
            pass  # a probe that learned nothing: the next one may go when its time is over
    return True


async def _record(services: Services, job: Job, outcome: SubmitOutcome) -> None:
    """Write down what fal answered to an attempt."""
    store = services.store
    match outcome:
        case Accepted(submission):
            await adopt(services, job, submission)
        case Declined(error):
            await store.close_unfilled(
                job.id,
                JobState.FAILED,
                refunded(error, job.credits),
                Grounds(attempt=job.submit_attempts),
            )
        case NotAccepted(reason):
            await void_attempt(services, job, reason)
        case Unknown(reason):
            await store.submission_unknown(
                job.id, job.submit_attempts, reason, grace_s=SUBMIT_UNKNOWN_GRACE_S
            )


async def adopt(services: Services, job: Job, submission: Submission) -> None:
    """Note which request of fal's is the job's.

    If the job has another request by now, this one is surplus and fal is asked to stop it.
    """
    store = services.store
    overdue_s = services.policy.overdue_after_s(job.expected_render_s)
    if await store.record_submission(job.id, job.submit_attempts, submission, expected_s=overdue_s):
        return
    now = await store.job(job.id)
    has_another = now.submission is not None and now.submission.request_id != submission.request_id
    if has_another or now.is_final:
        await stop_surplus(services, now, submission)


async def void_attempt(
    services: Services,
    job: Job,
    reason: str,
    *,
    request_id: str | None = None,
    entry_id: str | None = None,
) -> bool:
    """Let a job try again, later each time, after an attempt that is proven to have no video."""
    return await services.store.submission_void(
        job,
        reason,
        retry_in_s=backoff(SUBMIT_RETRY_S, job.submit_attempts),
        request_id=request_id,
        entry_id=entry_id,
    )


def webhook_url(services: Services, job: Job) -> str:
    """Where fal is to report on this attempt. fal does not sign the address, so it is sealed."""
    token = seal(services.policy.seal_key, Sealed(job.id, job.submit_attempts))
    return f"{services.policy.public_base_url}/api/fal/webhook/{token}"


def _arguments(services: Services, job: Job) -> dict[str, object]:
    assert job.start_image_key is not None, "a job is reserved with its image"
    field_name = PROVIDERS[job.provider].image_field
    url = services.bucket.url(job.start_image_key, services.policy.start_image_url_s)
    return {**job.arguments, field_name: url}
