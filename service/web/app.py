"""The web application: routes as a list."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Mount, Route

from service.domain.errors import ServiceError
from service.web import events, pages, routes, session
from service.web.problems import (
    answer_bug,
    answer_http_error,
    answer_nobody,
    answer_service_error,
)
from service.web.streams import Streams
from service.web.watching import Watcher
from service.wiring import Runtime


def build_app(runtime: Runtime) -> Starlette:
    """The application over a process's parts; whoever opened those closes them."""
    app = Starlette(
        routes=[
            Route("/api/templates/video", routes.submit_video, methods=["POST"]),
            Route("/api/templates/video/status", routes.read_status, methods=["GET"]),
            Route("/api/templates/video/events", events.stream_status, methods=["GET"]),
            Route("/api/templates/video/cancel", routes.cancel_video, methods=["POST"]),
            Route("/api/session", session.read_session, methods=["GET"]),
            Route("/api/session", session.open_session, methods=["POST"]),
            Route("/api/session", session.close_session, methods=["DELETE"]),
            Route("/api/templates", routes.list_templates, methods=["GET"]),
            Route("/api/library", routes.list_library, methods=["GET"]),
            Route("/api/library/{job_id}", routes.delete_video, methods=["DELETE"]),
            Route("/api/credits", routes.read_credits, methods=["GET"]),
            # fal gives up for good on a redirect, so both forms of the path answer themselves.
            Route("/api/fal/webhook/{token}", routes.receive_delivery, methods=["POST"]),
            Route("/api/fal/webhook/{token}/", routes.receive_delivery, methods=["POST"]),
            Route("/", pages.page, methods=["GET"]),
            Mount("/frontend", pages.Frontend()),
            Route("/health/live", routes.live, methods=["GET"]),
            Route("/health/ready", routes.ready, methods=["GET"]),
        ],
        exception_handlers={
            ServiceError: answer_service_error,
            HTTPException: answer_http_error,
            ClientDisconnect: answer_nobody,
            Exception: answer_bug,
        },
    )
    app.router.redirect_slashes = False
    app.state.runtime = runtime
    watcher = Watcher(runtime.store)
    runtime.store.on_write(watcher.poke)
    app.state.streams = Streams(watcher)
    return app
