"""The web application: routes as a list."""

from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Mount, Route

from service.domain.errors import ServiceError
from service.settings import Settings
from service.web import docs, events, health, openapi, ops, pages, routes, session
from service.web.headers import SafeHeaders
from service.web.limits import BoundedHead, OrderRate
from service.web.metrics import CountedRequests, read_metrics
from service.web.problems import (
    answer_bug,
    answer_http_error,
    answer_nobody,
    answer_service_error,
)
from service.web.streams import Streams
from service.web.turns import DeliveriesInTurn
from service.web.watching import Watcher
from service.wiring import Runtime

# What another site's page sends and may read. Never cookies: a sign-in of ours is not its to use.
_CORS: Final[dict[str, Any]] = {
    "allow_methods": ("GET", "POST", "DELETE"),
    "allow_headers": (
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "If-None-Match",
        "Last-Event-ID",
    ),
    "expose_headers": ("ETag", "Retry-After"),
    "allow_credentials": False,
    "max_age": 3600,
}


def _middleware(settings: Settings) -> list[Middleware]:
    """Other sites' pages only where CORS_ORIGINS names them: closed by default."""
    origins = settings.allowed_origins
    return [Middleware(CORSMiddleware, allow_origins=origins, **_CORS)] if origins else []


def build_app(runtime: Runtime) -> Starlette:
    """The application over a process's parts; whoever opened those closes them."""
    app = Starlette(
        routes=[
            # The first that fits is taken, so what is asked most comes first.
            Route("/api/templates/video/status", routes.read_status, methods=["GET"]),
            # fal gives up for good on a redirect, so both forms of the path answer themselves.
            Route("/api/fal/webhook/{token}", routes.receive_delivery, methods=["POST"]),
            Route("/api/fal/webhook/{token}/", routes.receive_delivery, methods=["POST"]),
            Route("/api/templates/video", routes.submit_video, methods=["POST"]),
            Route("/api/templates/video/events", events.stream_status, methods=["GET"]),
            Route("/api/templates/video/cancel", routes.cancel_video, methods=["POST"]),
            Route("/api/session", session.read_session, methods=["GET"]),
            Route("/api/session", session.open_session, methods=["POST"]),
            Route("/api/session", session.close_session, methods=["DELETE"]),
            Route("/api/templates", routes.list_templates, methods=["GET"]),
            Route("/api/library", routes.list_library, methods=["GET"]),
            Route("/api/library/{job_id}", routes.delete_video, methods=["DELETE"]),
            Route("/api/credits", routes.read_credits, methods=["GET"]),
            Route("/openapi.json", openapi.read_document, methods=["GET"]),
            Route("/docs", docs.read_docs, methods=["GET"]),
            Route("/", pages.page, methods=["GET"]),
            Mount("/frontend", pages.Frontend()),
            *ops.ops_routes(),
            Route("/health/live", health.live, methods=["GET"]),
            Route("/health/ready", health.ready, methods=["GET"]),
            Route("/metrics", read_metrics, methods=["GET"]),
        ],
        middleware=_middleware(runtime.settings),
        exception_handlers={
            ServiceError: answer_service_error,
            HTTPException: answer_http_error,
            ClientDisconnect: answer_nobody,
            Exception: answer_bug,
        },
    )
    app.router.redirect_slashes = False
    # Outside of everything, so that the answer to a bug of ours has them too.
    answering = SafeHeaders(
        BoundedHead(app.build_middleware_stack()), tls=not runtime.settings.development
    )
    app.middleware_stack = DeliveriesInTurn(CountedRequests(answering, runtime.services.signals))
    app.state.runtime = runtime
    app.state.ops_sign_in = ops.ops_sign_in(runtime)
    app.state.health = health.Health(runtime)
    app.state.order_rate = OrderRate(runtime.settings.max_submissions_per_minute)
    watcher = Watcher(runtime.store)
    runtime.store.on_write(watcher.poke)
    app.state.streams = Streams(watcher)
    return app
