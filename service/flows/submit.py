"""From an order to fal: reserve and answer at once, then one POST per recorded attempt."""

import hashlib
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.domain.errors import (
    IdempotencyConflict,
    InsufficientCredits,
    Invalid,
    NotFound,
    TooManyInFlight,
    Transient,
)
from service.domain.job import Job, JobState, NewJob, refunded
from service.domain.policy import (
    MAX_SUBMIT_ATTEMPTS,
    RESERVED_GRACE_S,
    SUBMIT_RETRY_S,
    SUBMIT_UNKNOWN_GRACE_S,
    SUBMITTING_GRACE_S,
    backoff,
)
from service.domain.providers import PROVIDERS, Provider, provider_named
from service.domain.seal import library_key, owner_prefix, seal
from service.domain.templates import Template, fill
from service.ports import Accepted, Declined, NotAccepted, Reserved, Services, Unknown

log = logging.getLogger(__name__)


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


async def accept(services: Services, order: Order) -> Job:
    """Check an order, store its image, and reserve its job; fal is not involved yet.

    A repeat under the same Idempotency-Key answers the same job. Raises NotFound (template),
    Invalid, ProviderRetired, InsufficientCredits, TooManyInFlight, IdempotencyConflict and
    Transient; whatever is raised, nothing is reserved, except that after Transient the
    reservation may stand, in which case the job goes its way.
    """
    store = services.store
    template = await store.template(order.template_slug)
    new = _plan(services, order, template)
    if order.idempotency_key and (before := await _earlier(services, new)):
        return before
    if (await store.balance(order.email)).available < new.credits:
        raise InsufficientCredits(_too_few(new.credits))
    await services.bucket.put_image(new.start_image_key, order.image.data, order.image.content_type)
    outcome = await store.reserve(
        new, max_in_flight=services.policy.max_in_flight, grace_s=RESERVED_GRACE_S
    )
    if outcome is not Reserved.RESERVED:
        await _discard_image(services, new.start_image_key)
    _raise_unless_accepted(outcome, new)
    services.nudge.submission(new.id)
    log.info("job reserved", extra={"job_id": new.id, "credits": new.credits})
    return await store.job(new.id)


async def send(services: Services, job_id: str) -> bool:
    """Submit a reserved job to fal, once. False if it was not there to be submitted.

    The attempt is counted before the POST. Whatever happens after that, there is no second POST
    until this one is proven not to have been accepted.
    """
    store = services.store
    job = await store.begin_submission(job_id, grace_s=SUBMITTING_GRACE_S)
    if job is None:
        return False
    assert job.fal_model is not None, "a job is reserved with its model"
    outcome = await services.fal.submit(
        job.fal_model, _arguments(services, job), webhook_url(services, job.id)
    )
    facts = {"job_id": job.id, "attempt": job.submit_attempts, "outcome": type(outcome).__name__}
    match outcome:
        case Accepted(submission):
            facts["request_id"] = submission.request_id
            overdue_s = services.policy.overdue_after_s(job.expected_render_s)
            if not await store.record_submission(
                job.id, job.submit_attempts, submission, expected_s=overdue_s
            ):
                log.error("fal accepted a job that has moved on: surplus request", extra=facts)
        case Declined(error):
            await store.close_unfilled(job.id, JobState.FAILED, refunded(error, job.credits))
        case NotAccepted(reason):
            await void_attempt(services, job, reason)
        case Unknown(reason):
            facts["reason"] = reason
            await store.submission_unknown(
                job.id, job.submit_attempts, reason, grace_s=SUBMIT_UNKNOWN_GRACE_S
            )
    log.info("submission answered", extra=facts)
    return True


async def void_attempt(services: Services, job: Job, reason: str) -> None:
    """Let a job try again after an attempt that made no video; park it after too many."""
    if job.submit_attempts >= MAX_SUBMIT_ATTEMPTS:
        await services.store.park(job, f"{job.submit_attempts} attempts failed; last: {reason}")
        log.error("job parked", extra={"job_id": job.id, "reason": reason})
        return
    await services.store.submission_void(
        job.id,
        job.submit_attempts,
        reason,
        retry_in_s=backoff(SUBMIT_RETRY_S, job.submit_attempts),
    )


def webhook_url(services: Services, job_id: str) -> str:
    """Where fal is to report on a job. fal does not sign this address, so it carries a seal."""
    token = seal(services.policy.seal_key, job_id)
    return f"{services.policy.public_base_url}/api/fal/webhook/{token}"


def _plan(services: Services, order: Order, template: Template) -> NewJob:
    policy = services.policy
    provider = provider_named(
        order.provider or template.provider, allow_retired=policy.allow_retired_providers
    )
    duration_s = order.duration_s or _default_duration(template, provider)
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
        expected_render_s=provider.expected_render_s,
        # A name of its own for each request: of two under one key, the loser removes its own.
        start_image_key=f"{prefix}/start/{job_id}-{secrets.token_hex(6)}.{order.image.extension}",
        object_key=library_key(prefix, job_id),
        digest=_digest(order),
    )


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


def _raise_unless_accepted(outcome: Reserved, new: NewJob) -> None:
    match outcome:
        case Reserved.RESERVED | Reserved.EXISTS:
            return
        case Reserved.CONFLICT:
            raise IdempotencyConflict("this Idempotency-Key was used with another request")
        case Reserved.INSUFFICIENT:
            raise InsufficientCredits(_too_few(new.credits))
        case Reserved.TOO_MANY:
            raise TooManyInFlight("too many of your videos are unfinished; wait for one to end")


def _too_few(price: int) -> str:
    return f"this video costs {price} credits and fewer are available"


async def _discard_image(services: Services, key: str) -> None:
    try:
        await services.bucket.delete(key)
    except Transient as error:  # it costs a little storage until its retention ends
        log.warning("start image left behind", extra={"key": key, "reason": str(error)})


def _arguments(services: Services, job: Job) -> dict[str, object]:
    assert job.start_image_key is not None, "a job is reserved with its image"
    field_name = PROVIDERS[job.provider].image_field
    url = services.bucket.url(job.start_image_key, services.policy.start_image_url_s)
    return {**job.arguments, field_name: url}
