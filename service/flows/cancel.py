"""Giving a video up: an owner's wish, which fal is asked to follow, and which fal may ignore.

The reservation stays until the verdict: fal says that it stopped, or it finishes all the same and
the owner's choice applies. Only what was never sent is closed at once.
"""

import logging

from service.domain.errors import TooLate, Transient
from service.domain.job import CANCELLED, IfFinished, Job, JobState, Submission, refunded
from service.domain.policy import CANCEL_GRACE_S
from service.ports import Applied, CancelAnswer, Grounds, Services, Store

log = logging.getLogger(__name__)


async def cancel(services: Services, job_id: str, if_finished: IfFinished) -> Job:
    """Give a job up; the job as it is then. A repeat changes at most the choice.

    Raises NotFound, TooLate once there is a video or the job has failed, and Transient.
    """
    # The choice is noted before anything is closed: an earlier attempt's video may still come.
    if await services.store.request_cancel(job_id, if_finished, grace_s=CANCEL_GRACE_S):
        log.info("cancel requested", extra={"job_id": job_id, "if_finished": if_finished.value})
        job = await services.store.job(job_id)
        if job.state is JobState.RESERVED and await close_cancelled(services, job):
            return await services.store.job(job_id)
        services.nudge.cancellation(job_id)
        return job
    job = await services.store.job(job_id)
    if job.state is JobState.CANCELLED:
        return job
    raise TooLate(
        "this video is made already" if job.error is None else "this video has ended already"
    )


async def close_cancelled(services: Services, job: Job) -> bool:
    """End a job of which nothing is at fal: it is reserved, and every attempt is proven void."""
    grounds = Grounds(attempt=job.submit_attempts, states=frozenset({JobState.RESERVED}))
    outcome = await services.store.close_unfilled(
        job.id, JobState.CANCELLED, refunded(CANCELLED, job.credits), grounds
    )
    return outcome in {Applied.CLOSED, Applied.REPEAT}


async def give_up(store: Store, job: Job) -> bool:
    """End a parked job on a person's word, whatever fal may still say; its credits go back."""
    grounds = Grounds(
        attempt=job.submit_attempts,
        fence=job.fence if job.state is JobState.RENDERED else None,
        states=frozenset({job.state}),
    )
    outcome = await store.close_unfilled(
        job.id, JobState.CANCELLED, refunded(CANCELLED, job.credits), grounds
    )
    log.warning("given up by an operator", extra={"job_id": job.id, "outcome": outcome.value})
    return outcome is Applied.CLOSED


async def stop(services: Services, job_id: str) -> CancelAnswer | None:
    """Ask fal to stop a job's request, if its owner wants that and fal has not agreed yet."""
    job = await services.store.job(job_id)
    wanted = job.if_finished is not None and not job.cancel_accepted
    if not wanted or job.state is not JobState.SUBMITTED:
        return None  # a request that is not known yet is stopped once it is
    assert job.submission is not None, "a submitted job knows its request"
    if job.fal_model is None:
        return None
    answer = await services.fal.cancel(job.fal_model, job.submission)
    if answer is CancelAnswer.REQUESTED:
        await services.store.cancel_accepted(
            job_id, job.submission.request_id, grace_s=CANCEL_GRACE_S
        )
    log.info("fal asked to stop", extra={"job_id": job_id, "answer": answer.value})
    return answer


async def stop_surplus(services: Services, job: Job, submission: Submission) -> None:
    """Stop a request of a job that has another one: it would cost money and charge nobody.

    Best effort: one that runs to its end is written off when its delivery comes.
    """
    facts = {"job_id": job.id, "request_id": submission.request_id}
    if job.fal_model is None:
        return
    try:
        answer = await services.fal.cancel(job.fal_model, submission)
    except Transient as error:
        facts["answer"] = str(error)
    else:
        facts["answer"] = answer.value
    log.error("surplus request: fal was asked to stop it", extra=facts)
