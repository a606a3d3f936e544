"""The stand-in for fal's queue over HTTP: status, result, cancel, keys; the app of it all."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.sandbox import cdn, control, platform
from service.sandbox.connection import gone
from service.sandbox.date import Dated
from service.sandbox.queue import Cancelled
from service.sandbox.records import Generation, Json, State
from service.sandbox.signing import JwksFault
from service.sandbox.stage import Stage, stage, unauthorised
from service.sandbox.submit import submit

_Handler = Callable[[Request, Generation], Response]


def app(shared: Stage) -> Starlette:
    """The whole stand-in. `shared` outlives it."""
    built = Starlette(routes=ROUTES, middleware=[Middleware(Dated, shared=shared)])
    built.state.stage = shared
    return built


def status(request: Request, generation: Generation) -> Response:
    """202 until complete, then 200, also for a failure: only `error` tells it apart."""
    body: Json = {
        "status": generation.state,
        "request_id": generation.request_id,
        **_urls(request, generation),
    }
    if generation.state is State.IN_QUEUE:
        body["queue_position"] = stage(request).queue.position(generation)
        return JSONResponse(body, HTTPStatus.ACCEPTED)
    body["logs"] = _logs(request, generation)
    verdict = generation.verdict
    if verdict is None:
        return JSONResponse(body, HTTPStatus.ACCEPTED)
    body["metrics"] = {"inference_time": generation.inference_s}
    if not verdict.ok:
        body |= {"error": verdict.error, "error_type": verdict.error_type}
    return JSONResponse(body, HTTPStatus.OK)


def result(request: Request, generation: Generation) -> Response:
    """The model's own answer, error or not; 400 while there is none."""
    verdict = stage(request).queue.result(generation)
    if verdict is None:
        return JSONResponse({"detail": "Request is still in progress"}, HTTPStatus.BAD_REQUEST)
    headers = {"x-fal-request-id": generation.request_id, **verdict.headers}
    if verdict.ok and generation.body is None:
        return JSONResponse({"detail": "Payload was deleted"}, HTTPStatus.NOT_FOUND)
    return JSONResponse(verdict.body, verdict.status_code, headers=headers)


def cancel(request: Request, generation: Generation) -> Response:
    """202 means no more than asked for; 400, not 409, once complete."""
    if stage(request).queue.cancel(generation) is Cancelled.TOO_LATE:
        return JSONResponse({"status": "ALREADY_COMPLETED"}, HTTPStatus.BAD_REQUEST)
    return JSONResponse({"status": "CANCELLATION_REQUESTED"}, HTTPStatus.ACCEPTED)


def of_request(counted: str, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
    """The handler for a request id: counts, checks the key and that the app has the id."""

    async def handle(request: Request) -> Response:
        here = stage(request)
        here.totals[counted] += 1
        if (refused := unauthorised(request)) is not None:
            return refused
        generation = here.queue.generations.get(request.path_params["request_id"])
        if generation is None or generation.endpoint.app != _app(request):
            return JSONResponse({"status": "NOT_FOUND"}, HTTPStatus.NOT_FOUND)
        generation.counts[counted] += 1
        return handler(request, generation)

    return handle


async def jwks(request: Request) -> Response:
    """GET /.well-known/jwks.json, or the failure that was set up for it."""
    here = stage(request)
    here.totals["jwks"] += 1
    if here.jwks_fault is JwksFault.DOWN:
        return JSONResponse({"detail": "down"}, HTTPStatus.SERVICE_UNAVAILABLE)
    if here.jwks_fault is JwksFault.SLOW:
        await gone(request.receive)
    return Response(json.dumps(here.keys.jwks(here.jwks_fault)), media_type="application/json")


async def unknown(request: Request) -> Response:
    """405 for a status, result or cancel path built from the full endpoint id, as fal does."""
    if "/requests/" in request.url.path:
        return JSONResponse({"detail": "Method Not Allowed"}, HTTPStatus.METHOD_NOT_ALLOWED)
    return JSONResponse({"detail": "Not Found"}, HTTPStatus.NOT_FOUND)


_REQUEST: Final = "/{owner}/{app}/requests/{request_id}"

ROUTES: Final = [
    *control.ROUTES,
    *platform.ROUTES,
    *cdn.ROUTES,
    Route("/.well-known/jwks.json", jwks),
    Route(f"{_REQUEST}/status", of_request("statuses", status)),
    Route(_REQUEST, of_request("results", result)),
    Route(f"{_REQUEST}/response", of_request("results", result)),
    Route(f"{_REQUEST}/cancel", of_request("cancels", cancel), methods=["PUT"]),
    Route("/{path:path}", submit, methods=["POST"]),
    Route("/{path:path}", unknown, methods=["GET", "PUT", "DELETE", "PATCH"]),
]


def _app(request: Request) -> str:
    return f"{request.path_params['owner']}/{request.path_params['app']}"


def _urls(request: Request, generation: Generation) -> Json:
    url = f"{stage(request).base_url}/{_app(request)}/requests/{generation.request_id}"
    return {"response_url": url, "status_url": f"{url}/status", "cancel_url": f"{url}/cancel"}


def _logs(request: Request, generation: Generation) -> list[Json]:
    """The key is always there; lines only for those who ask with `?logs=1`."""
    if request.query_params.get("logs") != "1" or generation.started_at is None:
        return []
    line = f"rendering {generation.input.seconds} s with {generation.endpoint.id}"
    at = generation.started_at.isoformat()
    return [{"message": line, "level": "INFO", "source": "USER", "timestamp": at}]
