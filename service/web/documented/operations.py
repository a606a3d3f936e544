"""What operators see and do: their page and its sign-in, and every operation of the registry."""

from typing import Annotated, Any, Final, get_type_hints

from pydantic import Field
from typing_extensions import TypedDict

from service.domain import errors
from service.operations.base import Operation
from service.operations.registry import OPERATIONS
from service.web.described import Answer, Body, Caller, Described, Refusal
from service.web.documented.common import PAGE, SLOW

GROUP: Final = "Operations"


class OperatorToken(TypedDict):
    token: Annotated[str, Field(min_length=1, max_length=1024, description="OPS_TOKEN")]


# NotFound also stands for all of it where there is no OPS_TOKEN.
_REFUSALS: Final[tuple[Refusal, ...]] = (
    errors.SignInRequired,
    errors.NotFound,
    SLOW,
    errors.IdempotencyConflict,
    errors.NothingToRefund,
    errors.TooLate,
    errors.StillRunning,
    errors.TooLarge,
    errors.UnsupportedMedia,
    errors.Invalid,
    errors.TooOften,
    errors.Transient,
    errors.TookTooLong,
)


def _described(operation: Operation[Any]) -> Described:
    """An operation by its own models: what it takes, and what its function is said to return."""
    words = " ".join((operation.run.__doc__ or "").split())
    return Described(
        method="POST",
        path=f"/ops/api/{operation.name}",
        id=operation.name,
        group=GROUP,
        summary=operation.name,
        about=words,
        caller=Caller.OPERATOR,
        body=Body(model=operation.takes),
        answers={200: Answer(about="Done.", model=get_type_hints(operation.run)["return"])},
        refusals=_REFUSALS,
    )


def _described_operations() -> tuple[Described, ...]:
    return tuple(_described(each) for each in OPERATIONS.values())


_SIGN_IN: Final = (
    Described(
        method="POST",
        path="/ops/session",
        id="openOperatorSession",
        group=GROUP,
        summary="Sign the operators' page in",
        caller=Caller.ANYBODY,
        body=Body(model=OperatorToken),
        answers={204: Answer(about="Signed in.", headers={"Set-Cookie": "the session"})},
        refusals=(
            errors.SignInRequired,
            errors.NotFound,
            SLOW,
            errors.TooLarge,
            errors.Invalid,
            errors.TooOften,
        ),
    ),
    Described(
        method="DELETE",
        path="/ops/session",
        id="closeOperatorSession",
        group=GROUP,
        summary="Sign the operators' page out",
        caller=Caller.ANYBODY,
        answers={204: Answer(about="Signed out.", headers={"Set-Cookie": "none any more"})},
        refusals=(errors.NotFound,),
    ),
    Described(
        method="GET",
        path="/ops",
        id="readOperatorPage",
        group=GROUP,
        summary="The operators' page",
        caller=Caller.ANYBODY,
        answers={200: PAGE},
        refusals=(errors.NotFound,),
    ),
)

OPERATORS: Final[tuple[Described, ...]] = (*_described_operations(), *_SIGN_IN)
