"""The receiving end of the canary: says, sealed, what arrived. Stores nothing, asks nobody."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.domain import canary
from service.web.bodies import read_body
from service.web.requests import runtime_of


async def answer_canary(request: Request, token: str) -> Response:
    """200 with what this delivery looked like here. Raises NotAuthentic and TooLarge."""
    runtime = runtime_of(request)
    key = runtime.services.policy.seal_key
    canary.check(key, token, time.time())
    body = await read_body(request, runtime.settings.max_webhook_bytes)
    seen = canary.arrival(body, path=request.url.path, headers=request.headers)
    return JSONResponse(
        canary.sealed_answer(key, token, seen), headers={"Cache-Control": "no-store"}
    )
