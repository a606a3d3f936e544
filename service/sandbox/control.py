"""The sandbox's own routes, which fal does not have: what happened, and what shall go wrong."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from service.sandbox.fault_book import Rule
from service.sandbox.faults import UnknownFaultError, describe, parse
from service.sandbox.records import Generation, Json, State
from service.sandbox.signing import JwksFault
from service.sandbox.stage import stage

TOTALS: Final = (
    "submits",
    "accepted",
    "statuses",
    "results",
    "cancels",
    "listings",
    "deletions",
    "jwks",
    "files",
    "deliveries",
)


async def requests(request: Request) -> Response:
    """GET /sandbox/requests: every request with its deliveries and counts."""
    return JSONResponse([_shown(each) for each in stage(request).queue.generations.values()])


async def counts(request: Request) -> Response:
    """GET /sandbox/counts: totals since the start or the last reset."""
    return JSONResponse({name: stage(request).totals[name] for name in TOTALS})


async def known_faults(request: Request) -> Response:
    """GET /sandbox/faults: every fault and what it does."""
    del request
    return JSONResponse(describe())


async def plan_faults(request: Request) -> Response:
    """POST /sandbox/faults: faults for the next `times` submissions that match."""
    body = await request.json()
    try:
        plan = parse(str(body["faults"]))
        rule = Rule(match=body.get("match"), plan=plan, left=int(body.get("times", 1)))
    except UnknownFaultError as error:
        return JSONResponse({"detail": str(error)}, HTTPStatus.BAD_REQUEST)
    stage(request).book.add(rule)
    return JSONResponse({"faults": str(plan), "match": rule.match, "times": rule.left})


async def forget_faults(request: Request) -> Response:
    """DELETE /sandbox/faults: from now on nothing fails that was not accepted to fail."""
    stage(request).book.clear()
    return JSONResponse({"faults": ""})


async def break_jwks(request: Request) -> Response:
    """POST /sandbox/jwks {"fault": name or null}: how the key set fails from now on."""
    fault = (await request.json())["fault"]
    if fault is not None and fault not in set(JwksFault):
        known = ", ".join(JwksFault)
        return JSONResponse({"detail": f"known are {known}"}, HTTPStatus.BAD_REQUEST)
    stage(request).jwks_fault = None if fault is None else JwksFault(fault)
    return JSONResponse({"fault": fault})


async def set_clock(request: Request) -> Response:
    """POST /sandbox/clock {"ahead_s": seconds}: how wrong the Date of each answer is from now."""
    ahead_s = float((await request.json())["ahead_s"])
    stage(request).clock_ahead_s = ahead_s
    return JSONResponse({"ahead_s": ahead_s})


async def rotate_keys(request: Request) -> Response:
    """POST /sandbox/rotate-keys[?keep_old=1]: a new signing key; the old one unlisted."""
    here = stage(request)
    here.keys.rotate(keep_old=request.query_params.get("keep_old") == "1")
    return JSONResponse(here.keys.jwks())


async def redeliver(request: Request) -> Response:
    """POST /sandbox/redeliver/{id}[?times=n]: one honest attempt each, at the same time."""
    here = stage(request)
    generation = here.queue.generations.get(request.path_params["request_id"])
    if generation is None:
        return JSONResponse({"detail": "unknown request"}, HTTPStatus.NOT_FOUND)
    if generation.state is not State.COMPLETED or generation.webhook_url is None:
        return JSONResponse({"detail": "it has no webhook to send"}, HTTPStatus.CONFLICT)
    sent = await here.queue.redeliver(generation, int(request.query_params.get("times", "1")))
    return JSONResponse({"statuses": [delivery.status for delivery in sent]})


async def reset(request: Request) -> Response:
    """POST /sandbox/reset: forget requests, files, faults and counts; keys and buckets stay."""
    here = stage(request)
    await here.queue.clear()
    here.book.clear()
    here.totals.clear()
    here.jwks_fault = None
    here.clock_ahead_s = 0.0
    return JSONResponse({"reset": True})


async def moved(request: Request) -> Response:
    """The proxy of the `redirected` fault: 308 to where the webhook should have gone."""
    generation = stage(request).queue.generations.get(request.path_params["request_id"])
    if generation is None or generation.webhook_url is None:
        return JSONResponse({"detail": "unknown request"}, HTTPStatus.NOT_FOUND)
    return RedirectResponse(generation.webhook_url, HTTPStatus.PERMANENT_REDIRECT)


ROUTES: Final = [
    Route("/sandbox/requests", requests),
    Route("/sandbox/counts", counts),
    Route("/sandbox/faults", known_faults, methods=["GET"]),
    Route("/sandbox/faults", plan_faults, methods=["POST"]),
    Route("/sandbox/faults", forget_faults, methods=["DELETE"]),
    Route("/sandbox/jwks", break_jwks, methods=["POST"]),
    Route("/sandbox/clock", set_clock, methods=["POST"]),
    Route("/sandbox/rotate-keys", rotate_keys, methods=["POST"]),
    Route("/sandbox/redeliver/{request_id}", redeliver, methods=["POST"]),
    Route("/sandbox/reset", reset, methods=["POST"]),
    Route("/sandbox/moved/{request_id}", moved, methods=["POST"]),
]


def _shown(generation: Generation) -> Json:
    return {
        "request_id": generation.request_id,
        "endpoint": generation.endpoint.id,
        "prompt": generation.input.prompt,
        "image_url": generation.input.image_url,
        "webhook_url": generation.webhook_url,
        "state": generation.state,
        "faults": str(generation.plan),
        "sent_at": generation.sent_at.isoformat(),
        "deliveries": [
            {**asdict(delivery), "at": delivery.at.isoformat()}
            for delivery in generation.deliveries
        ],
        **{name: generation.counts[name] for name in ("statuses", "results", "cancels", "files")},
    }
