"""A video that comes after its job had ended without one: delivered if it can be paid for.

Final is final: the ended job keeps its state and its release. A job of its own, derived from it,
reserves the price again and is finalised like any other. An owner who cannot pay finds it kept:
the delivery is parked, and redriving it once there are credits delivers the video. What its owner
had cancelled for good is only counted.
"""

import logging

from service.domain.job import Job
from service.domain.seal import library_key, owner_prefix
from service.domain.write_offs import Reason, WriteOff
from service.ports import Recovered, Services, Successor

log = logging.getLogger(__name__)


async def recover(
    services: Services, job: Job, request_id: str, source_url: str | None, entry_id: str | None
) -> str:
    """Apply the policy; what became of it, for the log. A repeat changes nothing."""
    store = services.store
    successor = _successor(services, job)
    outcome = await store.recover_late(job, successor, request_id, source_url)
    log.error(
        "a video arrived for a job that had ended without one",
        extra={"job_id": job.id, "request_id": request_id, "outcome": outcome.value},
    )
    said = f"late: {outcome.value}"
    if outcome is Recovered.RECOVERED:
        services.nudge.finalisation(successor.job_id)
    if outcome is Recovered.INSUFFICIENT and entry_id is not None:
        reason = f"a late video: its owner needs {job.credits} credits, then redrive this"
        await store.park_delivery(entry_id, reason)
        return said
    if lost := await _not_delivered(services, outcome, successor, request_id):
        await store.write_off(
            WriteOff(job_id=job.id, request_id=request_id, reason=lost, credits=job.credits)
        )
    if entry_id is not None:
        await store.close_delivery(entry_id, said)
    return said


async def _not_delivered(
    services: Services, outcome: Recovered, successor: Successor, request_id: str
) -> Reason | None:
    """Why nobody will pay for this request, if nobody will."""
    match outcome:
        case Recovered.RECOVERED | Recovered.NOT_ENDED:
            return None
        case Recovered.INSUFFICIENT:  # and there is no delivery that could be kept
            return Reason.LATE
        case Recovered.UNWANTED:
            return Reason.UNWANTED
        case Recovered.REPEAT:
            submission = (await services.store.job(successor.job_id)).submission
            same = submission is not None and submission.request_id == request_id
            return None if same else Reason.SURPLUS


def successor_id(job_id: str) -> str:
    """The job that delivers a late video of this one, if there is one."""
    return f"{job_id}-late"


def _successor(services: Services, job: Job) -> Successor:
    job_id = successor_id(job.id)
    return Successor(job_id, library_key(owner_prefix(services.policy.seal_key, job.email), job_id))
