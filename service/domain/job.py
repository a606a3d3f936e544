"""What a job is, the states it moves through, and what each move does to its credits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from service.domain.credits import account_name


class JobState(StrEnum):
    """`state` is the one truth on a job; the public status is derived from it by the schema."""

    RESERVED = "reserved"  # credits are held; nothing has been sent to fal
    SUBMITTING = "submitting"  # the attempt is recorded; its one POST may be on the wire
    SUBMIT_UNKNOWN = "submit_unknown"  # the POST's outcome is unknown; fal may be rendering
    SUBMITTED = "submitted"  # fal's request id is known; its verdict is not
    RENDERED = "rendered"  # fal said OK; finalisation is due
    READY = "ready"  # final: stored, captured and in the library
    FAILED = "failed"  # final: there is no video, the reservation is released
    CANCELLED = "cancelled"  # final: given up by its owner, the reservation is released


class Status(StrEnum):
    """What the outside sees of a state."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class Settlement(StrEnum):
    CAPTURE = "capture"  # the held credits are spent
    RELEASE = "release"  # the held credits go back


# A verdict may overtake our own bookkeeping (a webhook can outrun the answer to the submission
# it is about, or arrive after the database was restored from an older backup), so RENDERED and
# FAILED can be entered from every state that is not final. SUBMITTED follows RESERVED where
# fal's acceptance arrives after its attempt was given up for lost.
NEXT: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.RESERVED: frozenset(
        {
            JobState.SUBMITTING,
            JobState.SUBMITTED,
            JobState.RENDERED,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.SUBMITTING: frozenset(
        {
            JobState.RESERVED,
            JobState.SUBMIT_UNKNOWN,
            JobState.SUBMITTED,
            JobState.RENDERED,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.SUBMIT_UNKNOWN: frozenset(
        {
            JobState.RESERVED,
            JobState.SUBMITTED,
            JobState.RENDERED,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.SUBMITTED: frozenset(
        {JobState.RESERVED, JobState.RENDERED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.RENDERED: frozenset({JobState.READY, JobState.FAILED, JobState.CANCELLED}),
    JobState.READY: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

FINAL: Final = frozenset(state for state, following in NEXT.items() if not following)

# Money follows state: nothing but entering one of these ever settles a reservation.
SETTLES: Final[Mapping[JobState, Settlement]] = {
    JobState.READY: Settlement.CAPTURE,
    JobState.FAILED: Settlement.RELEASE,
    JobState.CANCELLED: Settlement.RELEASE,
}

STATUS: Final[Mapping[JobState, Status]] = {
    JobState.RESERVED: Status.PENDING,
    JobState.SUBMITTING: Status.PENDING,
    JobState.SUBMIT_UNKNOWN: Status.PENDING,
    JobState.SUBMITTED: Status.PROCESSING,
    JobState.RENDERED: Status.PROCESSING,
    JobState.READY: Status.COMPLETED,
    JobState.FAILED: Status.FAILED,
    JobState.CANCELLED: Status.FAILED,
}


def enters_from(state: JobState) -> frozenset[JobState]:
    """The states a job may be in when it enters `state`: the guard of every write."""
    return frozenset(before for before, following in NEXT.items() if state in following)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobError:
    """Why a job failed: a stable code, and a sentence its owner can read."""

    code: str
    message: str


class IfFinished(StrEnum):
    """What an owner who cancels wants if the provider finishes all the same.

    A cancel is only a request: fal removes what is queued, tells a runner to stop, and may
    complete and bill the video nevertheless. So the owner says beforehand what is to happen then.
    """

    KEEP = "keep"  # deliver and charge it
    DISCARD = "discard"  # no video, and the credits go back


CANCELLED: Final = JobError(code="cancelled", message="You cancelled this video.")


def refunded(error: JobError, credits_returned: int) -> JobError:
    """The reason, and what became of the owner's credits."""
    if credits_returned == 0:
        return error
    message = f"{error.message} Your {credits_returned} credits were returned."
    return JobError(code=error.code, message=message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What fal answered to our one POST. The URLs are used only after their host is checked."""

    request_id: str
    status_url: str | None = None
    response_url: str | None = None
    cancel_url: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A job about to be reserved. `digest` tells two requests under one Idempotency-Key apart."""

    id: str
    email: str
    template_id: str
    provider: str
    fal_model: str
    arguments: Mapping[str, Any]
    duration_s: int
    credits: int
    expected_render_s: int
    start_image_key: str
    object_key: str
    digest: str
    usual_render_s: int | None = None  # what its model's latest videos took


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job's row. Instants are the database's; `read_at` is its clock when the row was read."""

    id: str
    email: str
    state: JobState
    status: Status
    template_id: str
    provider: str
    fal_model: str | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    duration_s: int = 0
    credits: int = 0
    expected_render_s: int = 0
    usual_render_s: int | None = None  # what its model's latest videos took when it was ordered
    start_image_key: str | None = None
    digest: str | None = None
    submit_attempts: int = 0
    lookups: int = 0
    finalise_attempts: int = 0
    gone_attempts: int = 0
    fence: int = 0
    parked: bool = False
    parked_reason: str | None = None
    submission: Submission | None = None
    past_requests: tuple[str, ...] = ()
    source_url: str | None = None
    object_key: str | None = None
    object_size: int | None = None
    object_sha256: str | None = None
    thumbnail_key: str | None = None
    thumbnail_attempts: int = 0
    error: JobError | None = None
    if_finished: IfFinished | None = None  # set once its owner has asked to cancel it
    cancel_accepted: bool = False
    recovers: str | None = None  # the ended job whose late video this one delivers
    last_problem: str | None = None
    deleted_at: datetime | None = None  # its owner sees it no more
    purge_attempts: int = 0
    version: int = 0
    due: datetime | None = None
    created_at: datetime
    updated_at: datetime
    attempted_at: datetime | None = None
    submitted_at: datetime | None = None
    rendered_at: datetime | None = None
    finished_at: datetime | None = None
    read_at: datetime

    @property
    def owner(self) -> str:
        """The account's name; `email` is as it was first written."""
        return account_name(self.email)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None
