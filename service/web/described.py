"""The words in which a route is described: what it takes, what it answers, and what it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from service.domain.errors import ServiceError

Schema = Mapping[str, Any]
# A type whose JSON Schema pydantic makes: a TypedDict, a model, a dataclass.
Model = Any

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
TEXT: Schema = {"type": "string"}


class Caller(Enum):
    """Who may call a route: the security schemes that each of them may use, as alternatives."""

    ANYBODY = ()
    USER = ("bearer", "session")
    TOKEN = ("bearer",)
    FAL = ("falSignature",)
    OPERATOR = ("operator", "operatorSession")
    OPERATOR_TOKEN = ("operator",)
    MONITOR = ("", "monitor")  # or nobody in particular: where it is asked from may do


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    name: str
    place: Literal["query", "path", "header"]
    about: str
    schema: Schema = field(default_factory=lambda: TEXT)
    required: bool = False
    example: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of a form: JSON of a model, or a file of one of these types."""

    about: str
    model: Model = None
    types: tuple[str, ...] = ()
    example: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """JSON of a model, or the parts of a form; where it is neither, JSON of any shape."""

    model: Model = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    example: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer that is no refusal: JSON of a model, other text, events of a model, or no body.

    `follow`: what can be asked next, each an operation with the arguments taken from this answer.
    """

    about: str
    model: Model = None
    text: str | None = None
    events: Model = None
    headers: Mapping[str, str] = field(default_factory=dict)
    follow: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """A refusal that no error of the domain stands for."""

    status: int
    code: str


Refusal = type[ServiceError] | Plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """One method of one path."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    id: str
    group: str
    summary: str
    about: str = ""
    caller: Caller = Caller.USER
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    answers: Mapping[int, Answer]
    refusals: tuple[Refusal, ...] = ()
