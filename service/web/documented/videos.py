"""Ordering a video, following it, giving it up."""

from typing import Final

from service.domain import errors
from service.web.answers import JobView, Receipt
from service.web.bodies import Cancel, Order
from service.web.described import Answer, Body, Described, Parameter, Part
from service.web.documented.common import AN_ID, ID, SLOW, TAG, USUAL

_JOB_ID: Final = Parameter(
    name="jobId", place="query", about="of a job of yours", schema=ID, required=True, example=AN_ID
)
_FOLLOW_JOB: Final = {
    "readStatus": {"jobId": "$response.body#/jobId"},
    "streamStatus": {"jobId": "$response.body#/jobId"},
    "cancelVideo": {"jobId": "$response.body#/jobId"},
    "deleteVideo": {"jobId": "$response.body#/jobId"},
}

VIDEOS: Final = (
    Described(
        method="POST",
        path="/api/templates/video",
        id="submitVideo",
        group="Videos",
        summary="Order a video",
        about=(
            "Answers as soon as the job and its reservation are durable. The same order again"
            " under the same Idempotency-Key is the same job."
        ),
        parameters=(
            Parameter(
                name="Idempotency-Key",
                place="header",
                about="makes a repeat of this very order harmless",
                schema={"type": "string", "pattern": "^[!-~]{1,200}$"},
                example="order-0001",
            ),
        ),
        body=Body(
            parts={
                "startImage": Part(
                    about="what the video starts from; what its bytes are counts, not its name",
                    types=("image/png", "image/jpeg", "image/webp"),
                ),
                "data": Part(
                    about="the order, as JSON",
                    model=Order,
                    example={"templateSlug": "night-life-roller", "variables": {"BRAND": "Acme"}},
                ),
            },
        ),
        answers={202: Answer(about="Reserved.", model=Receipt, follow=_FOLLOW_JOB)},
        refusals=(
            *USUAL,
            errors.InsufficientCredits,
            errors.AccountClosed,
            errors.NotFound,
            SLOW,
            errors.IdempotencyConflict,
            errors.ProviderRetired,
            errors.TooLarge,
            errors.UnsupportedMedia,
            errors.Invalid,
            errors.BadImage,
            errors.TooManyInFlight,
            errors.TooOften,
        ),
    ),
    Described(
        method="GET",
        path="/api/templates/video/status",
        id="readStatus",
        group="Videos",
        summary="Read a job's status",
        about="One database read; the provider is never asked.",
        parameters=(
            _JOB_ID,
            Parameter(
                name="wait",
                place="query",
                about="seconds to wait for a version other than the one in If-None-Match",
                schema={"type": "integer", "minimum": 0, "maximum": 25, "default": 0},
                example=0,
            ),
            Parameter(name="If-None-Match", place="header", about="the last ETag"),
        ),
        answers={
            200: Answer(
                about="Its status.",
                model=JobView,
                headers={"ETag": TAG},
                follow={
                    "readStatus": {
                        "jobId": "$response.body#/jobId",
                        "If-None-Match": "$response.header.ETag",
                    }
                },
            ),
            304: Answer(about="Nothing has changed.", headers={"ETag": TAG}),
        },
        refusals=(*USUAL, errors.NotFound, errors.Invalid, errors.TooManyStreams),
    ),
    Described(
        method="GET",
        path="/api/templates/video/events",
        id="streamStatus",
        group="Videos",
        summary="Follow a job's status",
        about=(
            "Server-Sent Events: the status now, and again with each change, its version as `id`;"
            " a comment at least every 10 s. The stream ends after a final state."
        ),
        parameters=(
            _JOB_ID,
            Parameter(name="Last-Event-ID", place="header", about="the version seen last"),
        ),
        answers={
            200: Answer(about="The events.", events=JobView),
            204: Answer(about="You have seen the end: do not come back."),
        },
        refusals=(*USUAL, errors.NotFound, errors.Invalid, errors.TooManyStreams),
    ),
    Described(
        method="POST",
        path="/api/templates/video/cancel",
        id="cancelVideo",
        group="Videos",
        summary="Give a video up",
        about=(
            "The provider is asked to stop; it may finish all the same, and `ifFinished` says what"
            " is to happen then: `keep` delivers and charges it, `discard` gives the credits back."
        ),
        body=Body(model=Cancel, example={"jobId": AN_ID, "ifFinished": "discard"}),
        answers={202: Answer(about="The wish is noted.", model=JobView, follow=_FOLLOW_JOB)},
        refusals=(
            *USUAL,
            errors.NotFound,
            SLOW,
            errors.TooLate,
            errors.TooLarge,
            errors.UnsupportedMedia,
            errors.Invalid,
        ),
    ),
)
