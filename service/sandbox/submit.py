"""POST of a model's endpoint: checks, acceptance, and the answers that go missing."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from service.sandbox.connection import Cut, unless_gone
from service.sandbox.endpoints import ENDPOINTS, Endpoint, ModelInput, problem, validate
from service.sandbox.fault_book import submission
from service.sandbox.faults import HEADER, Fault, FaultPlan, UnknownFaultError, from_prompt, parse
from service.sandbox.records import Generation, Json
from service.sandbox.stage import stage, unauthorised

_NGINX_502: Final = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>"
)
_LOCKED: Final = (
    "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
)
# What each refusal answers: nothing is queued behind any of them.
_REFUSED: Final[Mapping[Fault, tuple[HTTPStatus, Json, Mapping[str, str]]]] = {
    Fault.SUBMIT_401: (HTTPStatus.UNAUTHORIZED, {"detail": "invalid key credentials"}, {}),
    Fault.SUBMIT_403: (HTTPStatus.FORBIDDEN, {"detail": _LOCKED}, {}),
    Fault.SUBMIT_422: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        {"detail": [problem(("prompt",), "Input was refused", "value_error", None)]},
        {},
    ),
    Fault.SUBMIT_429: (
        HTTPStatus.TOO_MANY_REQUESTS,
        {"detail": "Too many requests", "error_type": "concurrent_requests_limit"},
        {"X-Fal-Error-Type": "concurrent_requests_limit", "X-Fal-Needs-Retry": "1"},
    ),
    Fault.SUBMIT_503: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        {"detail": "Failed to schedule a runner", "error_type": "runner_scheduling_failure"},
        {"X-Fal-Error-Type": "runner_scheduling_failure"},
    ),
}


async def submit(request: Request) -> Response:
    """POST /{endpoint id}: every accepted repeat is one more request, and one more charge."""
    here = stage(request)
    here.totals["submits"] += 1
    if (refused := unauthorised(request)) is not None:
        return refused
    endpoint = ENDPOINTS.get(request.path_params["path"].strip("/"))
    if endpoint is None:
        return JSONResponse({"detail": "Application not found"}, HTTPStatus.NOT_FOUND)
    body = await _body(request)
    given = validate(endpoint, body)
    if isinstance(given, list):
        return _invalid(given)
    try:
        asked = parse(request.headers.get(HEADER, "")).joined(from_prompt(given.prompt))
    except UnknownFaultError as error:
        return _invalid([problem(("prompt",), str(error), "sandbox_fault", given.prompt)])
    tried = submission(endpoint.id, given.prompt, given.image_url)
    decision = here.book.decide(tried, asked)
    if decision.refusal is not None:
        status, content, headers = _REFUSED[decision.refusal]
        return JSONResponse(content, status, headers=dict(headers))
    assert isinstance(body, dict), "validated"
    return await _answer(request, _accept(request, endpoint, given, body, decision.plan))


async def _body(request: Request) -> object:
    """The JSON value sent; None, which no model takes, if it is no JSON."""
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        return None


def _invalid(detail: list[Json]) -> Response:
    return JSONResponse({"detail": detail}, HTTPStatus.UNPROCESSABLE_ENTITY)


def _accept(
    request: Request, endpoint: Endpoint, given: ModelInput, body: Json, plan: FaultPlan
) -> Generation:
    here = stage(request)
    webhook_url = request.query_params.get("fal_webhook") or None
    times = 2 if Fault.DOUBLE_ACCEPT in plan else 1
    here.totals["accepted"] += times
    first, *_ = [
        here.queue.accept(endpoint, given, body, webhook_url=webhook_url, plan=plan)
        for _ in range(times)
    ]
    return first


async def _answer(request: Request, generation: Generation) -> Response:
    """What the submitter hears of an accepted request, which may be nothing."""
    here, plan = stage(request), generation.plan
    position = here.queue.position(generation)
    if Fault.EARLY in plan:
        await unless_gone(request, generation.announced.wait())
    if Fault.SUBMIT_SLOW in plan:
        await unless_gone(request, asyncio.sleep(plan.number(Fault.SUBMIT_SLOW)))
    if Fault.SUBMIT_DROP in plan:
        return Cut()
    if Fault.SUBMIT_502 in plan:
        return HTMLResponse(_NGINX_502, HTTPStatus.BAD_GATEWAY, headers={"server": "nginx"})
    url = f"{here.base_url}/{generation.endpoint.app}/requests/{generation.request_id}"
    return JSONResponse(
        {
            "status": "IN_QUEUE",
            "request_id": generation.request_id,
            "gateway_request_id": generation.request_id,
            "response_url": url,
            "status_url": f"{url}/status",
            "cancel_url": f"{url}/cancel",
            "queue_position": position,
        },
        headers={"x-fal-request-id": generation.request_id},
    )
