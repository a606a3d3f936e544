"""A webhook: verified, stored, answered; then, in the worker, read and acted on.

Each delivery comes to one line in the log: when it was handled or parked, or, if we had it
already, when it came.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from service.domain.errors import DependencyDown, NotFound
from service.domain.inbox import Delivery, InboxEntry
from service.domain.job import Job, Submission
from service.domain.policy import DELIVERY_GRACE_S, DELIVERY_RETRY_S, MAX_DELIVERY_ATTEMPTS
from service.domain.seal import unseal
from service.domain.verdict import Pending, Unreadable, Verdict, parse_delivery
from service.flows.conclude import Source, conclude
from service.flows.submit import adopt
from service.ports import Services
from service.ports.signals import Count, Span

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parked:
    """The entry is kept for a person."""

    reason: str


async def receive(services: Services, token: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Record an authentic delivery durably. False if we had it already.

    Nothing slow happens here: fal counts an answer after 15 s as none. Raises NotAuthentic
    (nothing stored) and Transient (our fault: fal must send it again).
    """
    sealed = unseal(services.policy.seal_key, token)
    signed = await services.verifier.verify(headers, body)
    delivery = Delivery(
        job_id=sealed.job_id,
        attempt=sealed.attempt,
        request_id=signed.request_id,
        user_id=signed.user_id,
        body=body,
        stale=signed.stale,
    )
    with services.signals.span(Span.RECEIVE, sealed.job_id, bytes=len(body)):
        created = await services.store.record_delivery(delivery, grace_s=DELIVERY_GRACE_S)
    if signed.stale:
        services.signals.count(Count.STALE_DELIVERIES)
    services.signals.count(Count.DELIVERIES, outcome="recorded" if created else "repeated")
    if created:
        services.nudge.delivery(delivery.entry_id)
        return True
    facts = {
        "job_id": sealed.job_id,
        "request_id": signed.request_id,
        "entry_id": delivery.entry_id,
        "bytes": len(body),
        "stale": signed.stale,
        "repeated": True,
    }
    log.info("delivery repeated", extra=facts)
    return False


async def hint(services: Services, token: str) -> None:
    """A delivery that is too large to keep still says that its job has moved: look sooner."""
    job_id = unseal(services.policy.seal_key, token).job_id
    await services.store.make_due(job_id)
    log.warning("delivery over the size limit", extra={"job_id": job_id})


async def handle(services: Services, entry_id: str) -> bool:
    """Act on a recorded delivery. False if it was handled, or parked, before.

    The attempt is counted first, so an entry that kills its worker is parked in the end. A
    delivery that settles nothing by its own words (stale, or an infrastructure error) makes us
    ask fal once.
    """
    entry = await services.store.take_delivery(entry_id, retry_in_s=DELIVERY_RETRY_S)
    if entry is None:
        return False
    started = time.monotonic()
    with services.signals.span(Span.HANDLE, entry.job_id, attempt=entry.attempts):
        try:
            outcome = await _act_on(services, entry)
        except DependencyDown:  # says nothing about this entry
            await services.store.put_off_delivery(entry.id, retry_in_s=DELIVERY_RETRY_S)
            raise
    _tell(entry, outcome, time.monotonic() - started)
    return True


def _tell(entry: InboxEntry, outcome: str | Parked, took_s: float) -> None:
    """The delivery's line in the log."""
    assert entry.taken_at is not None, "an entry is taken before it is handled"
    waited_s = (entry.taken_at - entry.received_at).total_seconds()
    facts = {
        "job_id": entry.job_id,
        "request_id": entry.request_id,
        "entry_id": entry.id,
        "bytes": len(entry.body),
        "stale": entry.stale,
        "repeated": False,
        "attempts": entry.attempts,
        "seconds": round(waited_s + took_s, 3),
    }
    if isinstance(outcome, Parked):
        log.error("delivery parked", extra={**facts, "outcome": "parked", "reason": outcome.reason})
    else:
        log.info("delivery handled", extra={**facts, "outcome": str(outcome)})


async def _act_on(services: Services, entry: InboxEntry) -> str | Parked:
    if entry.attempts > MAX_DELIVERY_ATTEMPTS:
        return await _park(services, entry, "handling failed too often")
    try:
        job = await _adopted(services, await services.store.job(entry.job_id), entry)
    except NotFound:
        return await _park(services, entry, "there is no such job in this database")
    if job.is_deleted:
        # Before the entry is closed: whoever dies in between leaves a purge that finds it.
        await services.store.purge_again(job.id)
    try:
        verdict: Verdict
        if entry.is_emptied and not job.is_deleted:
            verdict = Pending("the delivery's words are no longer kept")  # fal still has them
        else:
            verdict = parse_delivery(entry.body, entry.request_id)
    except Unreadable as error:
        return await _unreadable(services, job, entry, str(error))
    if entry.stale or isinstance(verdict, Pending):
        verdict = await _ask(services, job, entry)
    source = Source(request_id=entry.request_id, attempt=entry.attempt, entry_id=entry.id)
    outcome = await conclude(services, job, source, verdict)
    if job.is_deleted:
        services.nudge.purge(job.id)
    return outcome


async def _unreadable(services: Services, job: Job, entry: InboxEntry, reason: str) -> str | Parked:
    """Keep an entry for a person, unless its job is deleted: then nobody is to keep it."""
    if not job.is_deleted:
        return await _park(services, entry, reason)
    await services.store.close_delivery(entry.id, f"deleted: {reason}")
    services.nudge.purge(job.id)
    return "deleted"


async def _adopted(services: Services, job: Job, entry: InboxEntry) -> Job:
    """The job, knowing the request of its attempt: a signed delivery proves that fal took it.

    Whatever the delivery goes on to say, without this an attempt whose answer was lost could
    pass for one that fal never had.
    """
    if job.submission is not None or job.is_final or entry.attempt != job.submit_attempts:
        return job
    await adopt(services, job, Submission(request_id=entry.request_id))
    return await services.store.job(job.id)


async def _ask(services: Services, job: Job, entry: InboxEntry) -> Verdict:
    submission = job.submission
    if submission is None or submission.request_id != entry.request_id:
        submission = Submission(request_id=entry.request_id)
    if job.fal_model is None:
        return Pending("the job's model is not known")
    return await services.fal.check(job.fal_model, submission)


async def _park(services: Services, entry: InboxEntry, reason: str) -> Parked:
    """Keep an entry for a person; its job is asked about at once instead."""
    await services.store.park_delivery(entry.id, reason)
    await services.store.make_due(entry.job_id)
    return Parked(reason)
