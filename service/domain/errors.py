"""Every error the service raises on purpose. The web layer maps each class to one status.

Each class carries a stable `code`, which clients may depend on; the message is for people.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from service.domain.pauses import Activity


class ServiceError(Exception):
    """Base of all deliberate errors; anything else that escapes is a bug."""

    code: ClassVar[str] = "error"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field of a request: where it is and what would mend it."""

    field: str
    message: str


class Invalid(ServiceError):
    """The request cannot be carried out as it stands; says every field that is wrong."""

    code = "invalid_request"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{each.field}: {each.message}" for each in self.errors))


class BadImage(Invalid):
    """The start image is no PNG, JPEG or WebP that can be decoded within the limits."""

    code = "invalid_image"


class TooLarge(ServiceError):
    """A body or an upload is over its limit."""

    code = "too_large"


class UnsupportedMedia(ServiceError):
    """The request's body, or the start image, is of a type that is not accepted."""

    code = "unsupported_media_type"


class Lacks(StrEnum):
    """What a delivery is refused for."""

    ADDRESS = "address"  # the URL carries no token of ours
    HEADER = "header"  # a signed header is missing or malformed
    ACCOUNT = "account"  # signed for another customer of fal
    SIGNATURE = "signature"


class NotAuthentic(ServiceError):
    """Who sent this cannot be proven. Nothing was stored."""

    code = "not_authentic"

    def __init__(self, message: str, lacks: Lacks = Lacks.SIGNATURE) -> None:
        super().__init__(message)
        self.lacks = lacks


class SignInRequired(ServiceError):
    """There is no valid sign-in on the request, or it has expired."""

    code = "sign_in_required"


class NotFound(ServiceError):
    """No such thing, or it belongs to somebody else: the two look the same."""

    code = "not_found"


class InsufficientCredits(ServiceError):
    """The account holds fewer available credits than the job costs. Nothing was reserved."""

    code = "insufficient_credits"


class TooManyInFlight(ServiceError):
    """The account has as many unfinished jobs as it may have. Nothing was reserved."""

    code = "too_many_in_flight"


class TooOften(ServiceError):
    """An account orders faster than it may; `retry_after_s` later one more order is taken."""

    code = "too_often"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyStreams(ServiceError):
    """As many requests wait for a job's changes as may. Reading the status still works."""

    code = "too_many_streams"


class AccountClosed(ServiceError):
    """The account takes no more orders. Nothing was reserved."""

    code = "account_closed"


class IdempotencyConflict(ServiceError):
    """The Idempotency-Key was used before with another request. Nothing was reserved."""

    code = "idempotency_key_reused"


class ProviderRetired(ServiceError):
    """The provider's model no longer exists upstream."""

    code = "provider_retired"

    def __init__(self, name: str, successors: Sequence[str]) -> None:
        self.successors = tuple(successors)
        super().__init__(f"{name} was retired upstream; use {' or '.join(successors)} instead")


class Transient(ServiceError):
    """A dependency failed in a way that time may heal. The state is kept; try again later."""

    code = "temporarily_unavailable"


class DependencyDown(Transient):
    """What every job needs does not work: says nothing about this job.

    `pauses`: what the whole service should leave alone for a while because of it.
    """

    pauses: ClassVar[Activity | None] = None


class KeyRefused(DependencyDown):
    """fal refuses our key, or has locked the account: nothing will pass until a person acts."""

    code = "fal_key_refused"


class InputHidden(Transient):
    """fal's listing has requests without their input, so one that is looked for may be among them.

    `request_ids` names them: those whose payload was deleted on purpose are known not to be it.
    """

    def __init__(self, request_ids: Collection[str]) -> None:
        self.request_ids = frozenset(request_ids)
        super().__init__("fal's listing does not show what was asked")


class StillRunning(ServiceError):
    """The job has not ended: it can be cancelled, and deleted after that."""

    code = "still_running"


class TooLate(ServiceError):
    """The video is made already, or the job has ended: it can no longer be given up."""

    code = "too_late"


class NothingToRefund(ServiceError):
    """There are no captured credits that could be given back. Nothing was changed."""

    code = "nothing_to_refund"


class TookTooLong(ServiceError):
    """An operation did not end within its bound. What it had changed by then stays changed."""

    code = "took_too_long"


class SourceGone(ServiceError):
    """The rendered file is not (or no longer) at its address: 403, 404 or 410."""

    code = "source_gone"


class SourceRefused(ServiceError):
    """The rendered file's address, or where it redirects to, is not one we may fetch."""

    code = "source_refused"


class SourceTooLarge(ServiceError):
    """The rendered file is over the size limit. Asking again will not make it smaller."""

    code = "source_too_large"


class NotAVideo(ServiceError):
    """What the source serves is not a complete MP4."""

    code = "not_a_video"


class ObjectConflict(ServiceError):
    """The object key is taken by something that this job did not write."""

    code = "object_conflict"
