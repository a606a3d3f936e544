"""What an operation is: a name, a model of its arguments, and a function of a context."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from service.adapters.store import SurrealStore
from service.domain.operators import Door
from service.ports import Bucket

LIMIT_S: Final = 30.0  # of most operations: a few reads of the database
LONG_S: Final = 900.0  # of those that read everything there is


class Arguments(BaseModel):
    """What an operation takes, as JSON in camelCase; nothing that it does not know."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
    )


class NoArguments(Arguments):
    """Of an operation that takes none."""


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What operations work with, and by which door they were asked for."""

    store: SurrealStore
    door: Door
    open_bucket: Callable[[], AbstractAsyncContextManager[Bucket]]
    allow_retired_providers: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation(Generic[A]):
    """`acts`: it changes something, says so as `changed`, and is noted in the log of actions.

    `noted`: what of its arguments is kept there.
    """

    name: str
    takes: type[A]
    run: Callable[[Context, A], Awaitable[Mapping[str, Any]]]
    acts: bool = False
    limit_s: float = LIMIT_S
    noted: Callable[[A], dict[str, Any]] = lambda arguments: arguments.model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
