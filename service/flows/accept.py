"""From an order to a reserved job: checked, its image stored, and answered at once."""

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
from service.domain.job import STATUS, Job, JobState, NewJob, Status
from service.domain.policy import (
    RESERVED_GRACE_S,
)
from service.domain.providers import Provider, provider_named
from service.domain.render_times import usual_s
from service.domain.seal import library_key, owner_prefix
from service.domain.templates import Template, fill
from service.ports import (
    Reserved,
    Services,
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
