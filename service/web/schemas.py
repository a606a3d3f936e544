"""JSON Schemas of the models that routes take and answer, under one roof of components."""

from collections.abc import Iterable
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypedDict

from service.web.described import Described, Model

_SCHEMAS: Final = "#/components/schemas/"


class Schemas:
    """The schema of each model; `components` has what they refer to."""

    def __init__(self, described: Iterable[Described], *more: Model) -> None:
        found: dict[str, tuple[Model, Any]] = {str(each): (each, "serialization") for each in more}
        for each in described:
            found |= {str(model): (model, "validation") for model in _taken(each)}
            found |= {str(model): (model, "serialization") for model in _answered(each)}
        inputs = [
            (name, mode, TypeAdapter(_readable(model))) for name, (model, mode) in found.items()
        ]
        schemas, components = TypeAdapter.json_schemas(
            inputs, ref_template=_SCHEMAS + "{model}", schema_generator=_Untitled
        )
        self._of = {name: schema for (name, _), schema in schemas.items()}
        self.components: dict[str, Any] = components["$defs"]

    def of(self, model: Model) -> dict[str, Any]:
        return dict(self._of[str(model)])


def reference(name: str) -> dict[str, Any]:
    return {"$ref": _SCHEMAS + name}


class _Untitled(GenerateJsonSchema):
    """Field names are what they are: `Jobid` for `jobId` helps nobody."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def _taken(described: Described) -> Iterable[Model]:
    body = described.body
    if body is None:
        return []
    models = [body.model, *(part.model for part in body.parts.values())]
    return [each for each in models if each is not None]


def _answered(described: Described) -> Iterable[Model]:
    models = [
        each for answer in described.answers.values() for each in (answer.model, answer.events)
    ]
    return [each for each in models if each is not None]


def _readable(model: Model) -> Model:
    """The same type as pydantic reads it: before Python 3.12 it refuses typing's own TypedDict."""
    if isinstance(model, type) and type(model).__module__ == "typing" and is_typeddict(model):
        return _rebuilt(model)
    arguments = get_args(model)
    origin: Any = get_origin(model)
    if not arguments or origin is Literal:
        return model
    if origin is Annotated:
        return Annotated[(_readable(arguments[0]), *arguments[1:])]
    read = tuple(_readable(each) for each in arguments)
    return reduce(or_, read) if origin in {Union, UnionType} else origin[read]


@cache
def _rebuilt(model: type) -> type:
    """One for one, so that two answers with the same part share its schema."""
    optional: frozenset[str] = model.__optional_keys__  # type: ignore[attr-defined]
    fields = {
        name: NotRequired[_readable(_unmarked(kind))] if name in optional else _readable(kind)
        for name, kind in get_type_hints(model, include_extras=True).items()
    }
    made: type = TypedDict(model.__name__, fields)  # type: ignore[misc]
    made.__doc__, made.__module__ = model.__doc__, model.__module__
    return made


def _unmarked(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is NotRequired else kind
