"""`python -m tests.bench.bare PORT`: the webhook and the status, written in an afternoon.

Starlette, uvicorn as it comes, the SDK on one connection. No sign-in, no limits, no handling, no
second try: what is left is the least that verifies, stores and reads.
"""

import base64
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import uvicorn
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from surrealdb import AsyncSurreal, RecordID

FRESH_FOR_S: Final = 300


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """One connection and the keys, for as long as the process lives."""
    environ = os.environ
    async with httpx.AsyncClient(trust_env=False) as client:
        found = (await client.get(environ["FAL_JWKS_URL"])).json()
    app.state.keys = [_key(each["x"]) for each in found["keys"]]
    async with AsyncSurreal(environ["SURREALDB_URL"]) as database:
        user, password = environ["SURREALDB_USERNAME"], environ["SURREALDB_PASSWORD"]
        await database.signin({"username": user, "password": password})
        await database.use(environ["SURREALDB_NAMESPACE"], environ["SURREALDB_DATABASE"])
        await database.query("DEFINE TABLE IF NOT EXISTS bare_delivery")
        app.state.database = database
        yield


async def receive(request: Request) -> Response:
    """POST /webhook/{token}: verify, insert, answer."""
    body, headers = await request.body(), request.headers
    request_id = headers["x-fal-webhook-request-id"]
    user_id = headers["x-fal-webhook-user-id"]
    timestamp = headers["x-fal-webhook-timestamp"]
    lines = (request_id, user_id, timestamp, hashlib.sha256(body).hexdigest())
    signature = bytes.fromhex(headers["x-fal-webhook-signature"])
    fresh = abs(time.time() - int(timestamp)) <= FRESH_FOR_S
    if not fresh or not _signed(request.app.state.keys, "\n".join(lines).encode(), signature):
        return JSONResponse({"error": "bad signature"}, status_code=401)
    row = {
        "job": RecordID("video_job", request.path_params["token"].partition(".")[0]),
        "request_id": request_id,
        "user_id": user_id,
        "body": body,
        "received_at": datetime.now(UTC),
    }
    await request.app.state.database.create("bare_delivery", row)
    return JSONResponse({"ok": True})


async def status(request: Request) -> Response:
    """GET /status?jobId=: the job's row."""
    job = RecordID("video_job", request.query_params["jobId"])
    row = await request.app.state.database.select(job)
    if not row:
        return JSONResponse({"error": "no such job"}, status_code=404)
    tag = f'"{row["version"]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return JSONResponse(_view(row), headers={"ETag": tag})


def _view(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "jobId": row["id"].id,
        "status": row["status"],
        "key": row.get("object_key"),
        "credits": row["credits"],
        "error": row.get("error"),
        "version": row["version"],
        "createdAt": row["created_at"].isoformat(),
        "updatedAt": row["updated_at"].isoformat(),
    }


def _signed(keys: list[VerifyKey], message: bytes, signature: bytes) -> bool:
    for key in keys:
        try:
            key.verify(message, signature)
        except BadSignatureError:
            continue
        return True
    return False


def _key(x: str) -> VerifyKey:
    return VerifyKey(base64.urlsafe_b64decode(x + "=" * (-len(x) % 4)))


app = Starlette(
    routes=[
        Route("/webhook/{token}", receive, methods=["POST"]),
        Route("/status", status, methods=["GET"]),
    ],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
