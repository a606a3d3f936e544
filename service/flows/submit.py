"""From an order to fal: reserve and answer at once, then one POST per recorded attempt."""

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from service.domain.errors import (
    AccountClosed,
    IdempotencyConflict,
    InsufficientCredits,
    Invalid,
    NotFound,
    TooManyInFlight,
    Transient,
)
from service.domain.job import STATUS, Job, JobState, NewJob, Status, Submission, refunded
from service.domain.pauses import Activity, Gate
from service.domain.policy import (
    RESERVED_GRACE_S,
    SUBMIT_RETRY_S,
    SUBMIT_UNKNOWN_GRACE_S,
    SUBMITTING_GRACE_S,
    backoff,
)
from service.domain.providers import PROVIDERS, Provider, provider_named
from service.domain.render_times import usual_s
from service.domain.seal import Sealed, library_key, owner_prefix, seal
from service.domain.templates import Template, fill
from service.flows import pauses
from service.flows.cancel import stop_surplus
from service.ports import (
    Accepted,
    Declined,
    Grounds,
    NotAccepted,
    Reserved,
    Services,
    SubmitOutcome,
    Unknown,
)
from service.ports.signals import Span, Timing

log = logging.getLogger(__name__)

CLOSED: Final = "this account is closed"


@dataclass(frozen=True, kw_only=True, slots=True)
class StartImage:
    """A start image that has been decoded and found good."""

    data: bytes = field(repr=False)
    content_type: str
    extension: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a user asks for. Omitted provider and duration are the template's."""

    email: str
    template_slug: str
    variables: Mapping[str, str]
    image: StartImage
    provider: str | None = None
    duration_s: int | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What an order came to: its job, and what was reserved for it."""

    job_id: str
    status: Status
    credits: int


async def accept(services: Services, order: Order) -> Receipt:
    """Check an order, store its image, and reserve its job; fal is not involved yet.

    A repeat under the same Idempotency-Key answers the same job. Raises NotFound (template),
    Invalid, ProviderRetired, InsufficientCredits, TooManyInFlight, AccountClosed,
    IdempotencyConflict and Transient; whatever is raised, nothing is reserved, except that after
    Transient the reservation may stand, in which case the job goes its way.
    """
    store = services.store
    template = await store.template(order.template_slug)
    new = _plan(services, order, template)
    if order.idempotency_key and (before := await _earlier(services, new)):
        return _receipt(before)
    balance = await store.balance(order.email)
    if balance.available < new.credits:
        # Unless they went to this very order, reserved a moment ago under the same key.
        if order.idempotency_key and (before := await _earlier(services, new)):
            return _receipt(before)
        if balance.closed:
            raise AccountClosed(CLOSED)
        raise InsufficientCredits(_too_few(new.credits))
    new = replace(new, usual_render_s=await _usual_render_s(services, new))
    outcome = await _reserve(services, order, new)
    if outcome is Reserved.EXISTS:
        return await _repeated(services, new)
    if outcome is not Reserved.RESERVED:
        await _discard_image(services, new.id, new.start_image_key)
    _raise_unless_accepted(outcome, new)
    services.nudge.submission(new.id)
    log.info("job reserved", extra={"job_id": new.id, "credits": new.credits})
    # Answered from what was written: a read that failed now would make the user pay twice.
    return Receipt(job_id=new.id, status=STATUS[JobState.RESERVED], credits=new.credits)


async def _reserve(services: Services, order: Order, new: NewJob) -> Reserved:
    """The start image and the reservation: the beginning of the job's trace."""
    began = time.monotonic()
    with services.signals.span(Span.ACCEPT, new.id, provider=new.provider):
        await services.bucket.put_image(
            new.start_image_key, order.image.data, order.image.content_type
        )
        outcome = await services.store.reserve(
            new, max_in_flight=services.policy.max_in_flight, grace_s=RESERVED_GRACE_S
        )
    services.signals.observe(Timing.SUBMIT, time.monotonic() - began)
    return outcome


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


def _plan(services: Services, order: Order, template: Template) -> NewJob:
    policy = services.policy
    provider = provider_named(
        template.provider if order.provider is None else order.provider,
        allow_retired=policy.allow_retired_providers,
    )
    duration_s = order.duration_s
    if duration_s is None:
        duration_s = _default_duration(template, provider)
    # A template's options are its default provider's; another model has others.
    options = template.options if provider.name == template.provider else {}
    problems = list(provider.check(duration_s, options))
    try:
        prompt = fill(template, order.variables)
    except Invalid as invalid:
        raise Invalid([*invalid.errors, *problems]) from None
    if problems:
        raise Invalid(problems)
    job_id = _job_id(order)
    prefix = owner_prefix(policy.seal_key, order.email)
    return NewJob(
        id=job_id,
        email=order.email,
        template_id=template.slug,
        provider=provider.name,
        fal_model=provider.endpoint,
        arguments=provider.arguments(prompt=prompt, duration_s=duration_s, options=options),
        duration_s=duration_s,
        credits=provider.price(duration_s),
        expected_render_s=round(policy.expected_render_s or provider.expected_render_s),
        # A name of its own for each request: of two under one key, the loser removes its own.
        start_image_key=f"{prefix}/start/{job_id}-{secrets.token_hex(6)}.{order.image.extension}",
        object_key=library_key(prefix, job_id),
        digest=_digest(order),
    )


async def _usual_render_s(services: Services, new: NewJob) -> int | None:
    """For the owner's patience only: no order fails for want of it."""
    try:
        return usual_s(await services.store.render_times(new.fal_model, new.duration_s))
    except Transient as error:
        log.warning("render times not read", extra={"job_id": new.id, "reason": str(error)})
        return None


def _default_duration(template: Template, provider: Provider) -> int:
    """The template's, or the nearest the chosen provider can do."""
    return min(provider.durations_s, key=lambda each: (abs(each - template.duration_s), each))


def _job_id(order: Order) -> str:
    """Random, or derived from owner and key: then a second reservation has nowhere to go."""
    if order.idempotency_key is None:
        return f"v{secrets.token_hex(13)}"
    named = json.dumps([order.email, order.idempotency_key])
    return f"k{hashlib.sha256(named.encode()).hexdigest()[:26]}"


def _digest(order: Order) -> str:
    """Tells two orders under one key apart: everything but the key, the image by its bytes."""
    told = [
        order.template_slug,
        sorted(order.variables.items()),
        order.provider,
        order.duration_s,
        hashlib.sha256(order.image.data).hexdigest(),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


async def _earlier(services: Services, new: NewJob) -> Job | None:
    """The job this key made before, without storing the image again. Raises on a conflict."""
    try:
        before = await services.store.job(new.id)
    except NotFound:
        return None
    _raise_unless_accepted(
        Reserved.EXISTS if before.digest == new.digest else Reserved.CONFLICT, new
    )
    return before


async def _repeated(services: Services, new: NewJob) -> Receipt:
    """The job that is there already: another request's under our key, or our own.

    It is our own if the answer to our reservation was lost and it was made again.
    """
    job = await services.store.job(new.id)
    if job.start_image_key != new.start_image_key:
        await _discard_image(services, new.id, new.start_image_key)
    else:
        services.nudge.submission(new.id)
    return _receipt(job)


def _receipt(job: Job) -> Receipt:
    return Receipt(job_id=job.id, status=job.status, credits=job.credits)


def _raise_unless_accepted(outcome: Reserved, new: NewJob) -> None:
    match outcome:
        case Reserved.RESERVED | Reserved.EXISTS:
            return
        case Reserved.CONFLICT:
            raise IdempotencyConflict("this Idempotency-Key was used with another request")
        case Reserved.INSUFFICIENT:
            raise InsufficientCredits(_too_few(new.credits))
        case Reserved.CLOSED:
            raise AccountClosed(CLOSED)
        case Reserved.TOO_MANY:
            raise TooManyInFlight("too many of your videos are unfinished; wait for one to end")


def _too_few(price: int) -> str:
    return f"this video costs {price} credits and fewer are available"


async def _discard_image(services: Services, job_id: str, key: str) -> None:
    try:
        await services.bucket.delete(key)
    except Transient as error:  # it costs a little storage until its retention ends
        log.warning("start image left behind", extra={"job_id": job_id, "reason": str(error)})


def _arguments(services: Services, job: Job) -> dict[str, object]:
    assert job.start_image_key is not None, "a job is reserved with its image"
    field_name = PROVIDERS[job.provider].image_field
    url = services.bucket.url(job.start_image_key, services.policy.start_image_url_s)
    return {**job.arguments, field_name: url}
