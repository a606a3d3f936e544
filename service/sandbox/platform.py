"""fal's platform API, as far as it finds lost submissions and deletes payloads.

The items' fields are documented; the names around them (`items`, `next_cursor`, `has_more`),
the newest-first order, that unfinished requests are listed with nulls, and the body that a
deletion answers are our assumptions.
"""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.sandbox.faults import Fault
from service.sandbox.records import Generation, Json
from service.sandbox.stage import stage, unauthorised

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 100
DEFAULT_WINDOW: Final = timedelta(hours=24)


async def by_endpoint(request: Request) -> Response:
    """GET …/requests/by-endpoint: a page of the requests of an endpoint, newest first."""
    here = stage(request)
    here.totals["listings"] += 1
    if (refused := unauthorised(request)) is not None:
        return refused
    query = request.query_params
    try:
        end = _instant(query.get("end")) or datetime.now(UTC)
        start = _instant(query.get("start")) or end - DEFAULT_WINDOW
        before = int(query.get("cursor") or 0)
        limit = min(max(1, int(query.get("limit") or DEFAULT_LIMIT)), MAX_LIMIT)
    except ValueError as error:
        return _bad(str(error))
    if not query.get("endpoint_id"):
        return _bad("endpoint_id is required")
    found = [
        generation
        for generation in reversed(list(here.queue.generations.values()))
        if generation.endpoint.id in query.getlist("endpoint_id")
        and start <= generation.sent_at <= end
        and (not before or generation.sequence < before)
    ]
    page, more = found[:limit], len(found) > limit
    full = "payloads" in query.getlist("expand")
    cursor = str(page[-1].sequence) if more else None
    return JSONResponse(
        {
            "items": [_item(each, full=full) for each in page],
            "next_cursor": cursor,
            "has_more": more,
        }
    )


async def delete_payloads(request: Request) -> Response:
    """DELETE …/{id}/payloads: input, output and file are gone for good; a repeat finds none."""
    stage(request).totals["deletions"] += 1
    if (refused := unauthorised(request)) is not None:
        return refused
    generation = stage(request).queue.generations.get(request.path_params["request_id"])
    if generation is None:
        return JSONResponse({"detail": "Request not found"}, HTTPStatus.NOT_FOUND)
    if (failure := _failure(generation)) is not None:
        return failure
    base_url = stage(request).base_url
    links = [f"{base_url}/files/b/{name}/out.mp4" for name in generation.files]
    generation.body = None
    generation.files.clear()
    return JSONResponse(
        {"cdn_delete_results": [{"link": link, "exception": None} for link in links]}
    )


ROUTES: Final = [
    Route("/v1/models/requests/by-endpoint", by_endpoint),
    Route("/v1/models/requests/{request_id}/payloads", delete_payloads, methods=["DELETE"]),
]


def _failure(generation: Generation) -> Response | None:
    """The answer in place of the deletion, if the plan has one."""
    generation.counts["deletions"] += 1
    tries = generation.counts["deletions"]
    if tries <= generation.plan.number(Fault.PAYLOADS_403):
        return JSONResponse({"detail": "An ADMIN key is required"}, HTTPStatus.FORBIDDEN)
    if tries <= generation.plan.number(Fault.PAYLOADS_503):
        return JSONResponse({"detail": "try later"}, HTTPStatus.SERVICE_UNAVAILABLE)
    return None


def _instant(text: str | None) -> datetime | None:
    """An ISO instant, UTC unless it says otherwise. Raises ValueError."""
    if not text:
        return None
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _bad(says: str) -> Response:
    return JSONResponse({"detail": says}, HTTPStatus.UNPROCESSABLE_ENTITY)


def _item(generation: Generation, *, full: bool) -> Json:
    """`full`: with input and output, which are left out unless `expand=payloads` asks."""
    verdict, stored = generation.verdict, generation.body is not None
    return {
        "request_id": generation.request_id,
        "endpoint_id": generation.endpoint.id,
        "sent_at": generation.sent_at.isoformat(),
        "started_at": _iso(generation.started_at),
        "ended_at": _iso(generation.ended_at),
        "status_code": verdict.status_code if verdict else None,
        "duration": generation.inference_s if verdict else None,
        "json_input": generation.body if full else None,
        "json_output": verdict.body if verdict and stored and full else None,
    }


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
