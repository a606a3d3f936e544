"""Errors as RFC 9457 problem details: one place decides which error is which status."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from service.domain import errors
from service.domain.errors import ServiceError
from service.ports.signals import Count, Signals

log = logging.getLogger(__name__)

STATUS: Final[Mapping[type[ServiceError], int]] = {
    errors.SignInRequired: 401,
    errors.NotAuthentic: 401,
    errors.InsufficientCredits: 402,
    errors.AccountClosed: 403,
    errors.NotFound: 404,
    errors.IdempotencyConflict: 409,
    errors.TooLate: 409,
    errors.NothingToRefund: 409,
    errors.StillRunning: 409,
    errors.ProviderRetired: 410,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.Invalid: 422,
    errors.TooManyInFlight: 429,
    errors.TooManyStreams: 429,
    errors.TooOften: 429,
    errors.Transient: 503,
    errors.TookTooLong: 504,
}
# Of refusals that are Starlette's and not ours.
HTTP_CODES: Final[Mapping[int, str]] = {
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
}
OTHER: Final = "bad_request"
BUG: Final = "internal_error"
PROBLEM: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """An application/problem+json answer. `code` is stable; `detail` is for people."""
    return JSONResponse(
        {"type": "about:blank", "title": _title(code), "status": status, "code": code}
        | {"detail": detail}
        | more,
        status_code=status,
        headers=headers,
        media_type=PROBLEM,
    )


async def answer_service_error(request: Request, error: Exception) -> Response:
    """The answer to a deliberate error. A class missing from STATUS is our bug: 500."""
    assert isinstance(error, ServiceError)
    if status_of(error) == HTTPStatus.TOO_MANY_REQUESTS:
        signals: Signals = request.app.state.runtime.services.signals
        signals.count(Count.RATE_LIMITED, limit=error.code)
    if status_of(error) < 500:  # noqa: PLR2004 - HTTP's server errors
        return error_answer(error, str(error))
    log.warning("request failed", extra={"path": _route(request), "reason": str(error)})
    detail = "The service is temporarily unavailable; nothing was lost. Try again."
    return error_answer(error, detail)


def status_of(error: ServiceError) -> int:
    return next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)


def error_answer(error: ServiceError, detail: str) -> Response:
    """A deliberate error as an answer, with as much of its reason as the caller may know."""
    status = status_of(error)
    more: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if isinstance(error, errors.Invalid):
        more["errors"] = [{"field": each.field, "message": each.message} for each in error.errors]
    if isinstance(error, errors.ProviderRetired):
        more["successors"] = list(error.successors)
    if isinstance(error, errors.SignInRequired):
        headers["WWW-Authenticate"] = "Bearer"
    if status in {429, 503}:
        wait_s = error.retry_after_s if isinstance(error, errors.TooOften) else RETRY_AFTER_S
        headers["Retry-After"] = str(wait_s)
    return problem(status, error.code, detail, headers=headers, **more)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (no such path, wrong method) in the same shape."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED and (methods := _methods(request)):
        headers["Allow"] = ", ".join(methods)
    return problem(status, HTTP_CODES.get(status, OTHER), error.detail, headers=headers)


async def answer_nobody(request: Request, _: Exception) -> Response:
    """The client hung up before its body was there: nothing was done, nobody is listening."""
    log.info("client hung up", extra={"path": _route(request)})
    return Response(status_code=400)


async def answer_bug(request: Request, error: Exception) -> Response:
    """Anything else is our bug. The caller learns that; the log learns why."""
    log.error("unexpected error", extra={"path": _route(request)}, exc_info=error)
    # The server closes the connection after an unexpected error; the client is told so.
    headers = {"Connection": "close"}
    detail = "Something broke on our side; nothing was lost."
    return problem(500, BUG, detail, headers=headers)


def _methods(request: Request) -> list[str]:
    """What a path answers, by all routes for it: Starlette names the methods of the first."""
    routes = [each for each in request.app.routes if isinstance(each, Route)]
    found = [each for each in routes if each.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for each in found for method in each.methods or ()})


def _route(request: Request) -> str:
    """The path for a log, without a webhook's token."""
    path = request.url.path
    return "/api/fal/webhook/…" if path.startswith("/api/fal/webhook/") else path


def _title(code: str) -> str:
    return code.replace("_", " ").capitalize()
