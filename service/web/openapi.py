"""The interface as an OpenAPI 3.1 document, made from the models and errors that the code uses."""

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from service.domain import errors
from service.web.answers import Problem
from service.web.described import (
    EVENTS,
    JSON,
    TEXT,
    Answer,
    Body,
    Described,
    Model,
    Parameter,
    Part,
    Plain,
    Refusal,
)
from service.web.documented import DOCUMENTED, GROUPS
from service.web.problems import BUG, HTTP_CODES, OTHER, PROBLEM, STATUS
from service.web.schemas import Schemas, reference

_ABOUT: Final = (
    "Turns a start image and a prompt template into a video. An order is answered at once; the"
    " video is followed by its job's status. Refusals are RFC 9457 problem details: depend on"
    " their `code`."
)
# What any route may answer.
ANYWHERE: Final = (Plain(status=431, code="head_too_large"), Plain(status=500, code=BUG))
# How each kind of caller proves who it is.
_SECURITY: Final[Mapping[str, Mapping[str, str]]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A user's token, with the claim `email`.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "session",
        "description": "What POST /api/session sets; writes need this site's own Origin besides.",
    },
    "falSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Fal-Webhook-Signature",
        "description": "Ed25519 over request, user, timestamp and the body's SHA-256, in hex.",
    },
    "operator": {"type": "http", "scheme": "bearer", "description": "OPS_TOKEN."},
    "operatorSession": {
        "type": "apiKey",
        "in": "cookie",
        "name": "ops",
        "description": "What POST /ops/session sets; writes need this site's own Origin besides.",
    },
    "monitor": {"type": "http", "scheme": "bearer", "description": "METRICS_TOKEN."},
}


async def read_document(request: Request) -> Response:
    """GET /openapi.json: the same for everybody, and as long as this version runs."""
    body, tag = await run_in_threadpool(_rendered)  # made once; that takes a moment
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type=JSON, headers=headers)


@cache
def _rendered() -> tuple[bytes, str]:
    body = json.dumps(document(DOCUMENTED), ensure_ascii=False, separators=(",", ":")).encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def document(described: tuple[Described, ...]) -> dict[str, Any]:
    """The whole document."""
    builder = _Builder(described)
    paths: dict[str, dict[str, Any]] = {}
    for each in described:
        paths.setdefault(each.path, {})[each.method.lower()] = builder.operation(each)
    groups = dict.fromkeys(each.group for each in described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "fal-video", "version": version("fal-video"), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": each, "description": GROUPS[each]} for each in groups],
        "paths": paths,
        "components": builder.components(),
    }


def codes(described: Iterable[Described]) -> list[str]:
    """Every `code` that an answer may carry."""
    raised = [each.code for each in vars(errors).values() if _is_answered(each)]
    refused = [each.code for one in described for each in one.refusals]
    anywhere = [each.code for each in ANYWHERE]
    return sorted({*raised, *refused, *anywhere, *HTTP_CODES.values(), OTHER})


def status_of(refusal: Refusal) -> int:
    if isinstance(refusal, Plain):
        return refusal.status
    return next(status for kind, status in STATUS.items() if issubclass(refusal, kind))


def _is_answered(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, tuple(STATUS))


class _Builder:
    def __init__(self, described: tuple[Described, ...]) -> None:
        self._described = {each.id: each for each in described}
        self._schemas = Schemas(described, Problem)
        self._responses: dict[str, Any] = {}

    def components(self) -> dict[str, Any]:
        schemas = dict(self._schemas.components)
        schemas["ProblemCode"] = {"type": "string", "enum": codes(self._described.values())}
        schemas["Problem"]["properties"]["code"] = reference("ProblemCode")
        return {
            "schemas": dict(sorted(schemas.items())),
            "responses": dict(sorted(self._responses.items())),
            "securitySchemes": _SECURITY,
        }

    def operation(self, each: Described) -> dict[str, Any]:
        answers = {str(status): self._answer(one) for status, one in each.answers.items()}
        made: dict[str, Any] = {
            "operationId": each.id,
            "tags": [each.group],
            "summary": each.summary,
            "description": each.about,
            "parameters": [_parameter(one) for one in each.parameters],
            "requestBody": self._body(each.body) if each.body else None,
            "responses": answers | self._refusals(each.refusals),
        }
        made = {name: value for name, value in made.items() if value}
        return made | {"security": [{name: []} if name else {} for name in each.caller.value]}

    def _body(self, body: Body) -> dict[str, Any]:
        if not body.parts:
            schema = self._schemas.of(body.model) if body.model else {}
            example = {"example": body.example} if body.example else {}
            content = {JSON: {"schema": schema} | example}
            return {"required": body.model is not None, "content": content}
        form = {
            "type": "object",
            "properties": {name: self._part(part) for name, part in body.parts.items()},
            "required": list(body.parts),
            "additionalProperties": False,
        }
        encoding = {
            name: {"contentType": ", ".join(part.types) or JSON}
            for name, part in body.parts.items()
        }
        return {
            "required": True,
            "content": {"multipart/form-data": {"schema": form, "encoding": encoding}},
        }

    def _part(self, part: Part) -> dict[str, Any]:
        if part.model is None:
            return {"type": "string", "format": "binary", "description": part.about}
        example = {"examples": [part.example]} if part.example else {}
        return self._schemas.of(part.model) | {"description": part.about} | example

    def _answer(self, answer: Answer) -> dict[str, Any]:
        made: dict[str, Any] = {"description": answer.about}
        if answer.headers:
            made["headers"] = {name: _header(about) for name, about in answer.headers.items()}
        if answer.model is not None:
            made["content"] = {JSON: {"schema": self._schemas.of(answer.model)}}
        if answer.text is not None:
            made["content"] = {answer.text: {"schema": TEXT}}
        if answer.events is not None:
            made["content"] = {EVENTS: {"schema": self._event(answer.events)}}
        if answer.follow:
            made["links"] = {name: self._link(name, each) for name, each in answer.follow.items()}
        return made

    def _event(self, model: Model) -> dict[str, Any]:
        """One event of a stream, as is the custom before OpenAPI 3.2 has a word for it."""
        return {
            "type": "object",
            "properties": {
                "id": TEXT,
                "event": TEXT,
                "data": {
                    "type": "string",
                    "contentMediaType": JSON,
                    "contentSchema": self._schemas.of(model),
                },
            },
            "required": ["id", "data"],
        }

    def _link(self, operation: str, given: Mapping[str, str]) -> dict[str, Any]:
        """What is no parameter of the operation goes into its body."""
        known = {each.name: each.place for each in self._described[operation].parameters}
        named = {f"{known[name]}.{name}": each for name, each in given.items() if name in known}
        body = {name: each for name, each in given.items() if name not in known}
        made: dict[str, Any] = {"operationId": operation}
        return (
            made
            | ({"parameters": named} if named else {})
            | ({"requestBody": body} if body else {})
        )

    def _refusals(self, refusals: tuple[Refusal, ...]) -> dict[str, Any]:
        by_status: dict[int, list[Refusal]] = {}
        for each in (*refusals, *ANYWHERE):
            by_status.setdefault(status_of(each), []).append(each)
        return {str(status): self._refusal(status, each) for status, each in by_status.items()}

    def _refusal(self, status: int, refusals: list[Refusal]) -> dict[str, Any]:
        """Shared among all routes that refuse for the same reasons."""
        said = sorted({each.code for each in refusals})
        name = "-".join([str(status), *said])
        invalid = any(
            isinstance(each, type) and issubclass(each, errors.Invalid) for each in refusals
        )
        narrowed: dict[str, Any] = {
            "properties": {"status": {"const": status}, "code": {"enum": said}},
            "required": ["errors"] if invalid else [],
        }
        schema = {"allOf": [reference("Problem"), narrowed]}
        headers = _headers(status, refusals)
        self._responses[name] = {
            "description": " ".join(_reason(each) for each in refusals),
            "content": {PROBLEM: {"schema": schema}},
        } | ({"headers": headers} if headers else {})
        return {"$ref": f"#/components/responses/{name}"}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    made = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.about,
        "required": parameter.required,
        "schema": parameter.schema,
    }
    return made if parameter.example is None else made | {"example": parameter.example}


def _header(about: str, schema: Mapping[str, Any] = TEXT) -> dict[str, Any]:
    return {"description": about, "required": True, "schema": schema}


def _headers(status: int, refusals: list[Refusal]) -> dict[str, Any]:
    """What problems.py adds to the refusals of that status."""
    classes = [each for each in refusals if isinstance(each, type)]
    if errors.SignInRequired in classes:
        return {"WWW-Authenticate": _header("how to sign in")}
    if classes and status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        seconds = {"type": "integer", "minimum": 0}
        return {"Retry-After": _header("seconds to wait before the next try", seconds)}
    return {}


def _reason(refusal: Refusal) -> str:
    """A sentence for people: an error's class says what it means."""
    if isinstance(refusal, Plain):
        return f"`{refusal.code}`: {HTTPStatus(refusal.status).phrase}."
    words = " ".join((inspect.getdoc(refusal) or "").partition("\n\n")[0].split())
    return f"`{refusal.code}`: {words}"
