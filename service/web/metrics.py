"""/metrics and what feeds it from HTTP; and the sidecar's own two addresses."""

import hmac
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.domain.errors import NotAuthentic, ServiceError, SignInRequired, TooLarge
from service.ports import Signals
from service.ports.signals import Count, Timing
from service.web.auth import bearer_token, from_this_machine
from service.web.headers import SafeHeaders
from service.web.problems import answer_bug, answer_http_error, answer_service_error
from service.web.requests import runtime_of
from service.wiring import Runtime
from service.worker import Pulse

log = logging.getLogger(__name__)

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_INTERNAL_ERROR: Final = 500


async def read_metrics(request: Request) -> Response:
    """GET /metrics in Prometheus's text format; to anybody who may not read it, a 404."""
    runtime = runtime_of(request)
    if not _may_read(request, runtime):
        raise HTTPException(404)
    body = await runtime.metrics.exposed()
    return Response(body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def _may_read(request: Request, runtime: Runtime) -> bool:
    """Who knows METRICS_TOKEN; without one, in development, who sits at this machine."""
    wanted = runtime.settings.metrics_token
    if wanted is None:
        return runtime.settings.development and from_this_machine(request)
    try:
        given = bearer_token(request) or ""
    except SignInRequired:
        return False
    return hmac.compare_digest(given.encode(), wanted.get_secret_value().encode())


class CountedRequests:
    """Counts every answer by its route's pattern, never by the path that was asked for."""

    def __init__(self, app: ASGIApp, signals: Signals) -> None:
        self._app = app
        self._signals = signals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        code = _INTERNAL_ERROR

        async def noting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                self._count(scope, code)
            await send(message)

        await self._app(scope, receive, noting)

    def _count(self, scope: Scope, code: int) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._signals.count(
            Count.HTTP_REQUESTS,
            route=getattr(scope.get("route"), "path", "none"),
            method=method,
            code=str(code),
        )


@contextmanager
def acknowledging(signals: Signals) -> Iterator[None]:
    """Times a delivery's answer, and counts it where it is none: refused, or our fault."""
    began = time.monotonic()
    try:
        yield
    except NotAuthentic as error:
        _refuse(signals, error.lacks.value)
        raise
    except TooLarge:
        _refuse(signals, "size")
        raise
    except (ClientDisconnect, HTTPException):
        _refuse(signals, "body")
        raise
    except Exception:  # whatever it is, fal has to send it again
        signals.count(Count.DELIVERIES, outcome="failed")
        signals.observe(Timing.ACK, time.monotonic() - began)
        raise
    signals.observe(Timing.ACK, time.monotonic() - began)


def _refuse(signals: Signals, reason: str) -> None:
    signals.count(Count.DELIVERIES, outcome="refused")
    signals.count(Count.REFUSED_DELIVERIES, reason=reason)
    # Anybody can bring this about; service.logs lets a few lines of its kind through at a time.
    log.warning("delivery refused", extra={"reason": reason})


def build_sidecar_app(runtime: Runtime, pulse: Pulse) -> Starlette:
    """What the reconciler serves on RECONCILER_PORT: whether it turns, and its metrics."""

    async def live(_: Request) -> Response:
        """GET /health/live: 503 once sweeping stands still: the process is to be restarted."""
        alive = pulse.age_s < pulse.patience_s
        answer = {"status": "ok" if alive else "stuck", "sweptSecondsAgo": round(pulse.age_s)}
        return JSONResponse(answer, status_code=200 if alive else 503)

    app = Starlette(
        routes=[
            Route("/health/live", live, methods=["GET"]),
            Route("/metrics", read_metrics, methods=["GET"]),
        ],
        exception_handlers={
            ServiceError: answer_service_error,
            HTTPException: answer_http_error,
            Exception: answer_bug,
        },
    )
    app.state.runtime = runtime
    app.middleware_stack = CountedRequests(
        SafeHeaders(app.build_middleware_stack(), tls=not runtime.settings.development),
        runtime.services.signals,
    )
    return app
