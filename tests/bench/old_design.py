"""The old design, to be held against: `python -m tests.bench.old_design PORT`.

POST /jobs submits to fal's queue, without a webhook. GET /status?jobId= asks the queue whenever it
is read, and a read that finds the request complete fetches the result, copies the video and writes
the row before it answers. The settings are the service's own, from the environment.
"""

import contextlib
import os
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import aioboto3
import fal_client
import fal_client.client
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from surrealdb import AsyncSurreal, RecordID

from service.domain.providers import PROVIDERS

MODEL: Final = PROVIDERS["seedance"].endpoint
TABLE: Final = "old_job"
LINK_S: Final = 3600
DOWNLOAD_S: Final = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """One of each for the process's life: nothing is opened for a single request."""

    fal: Any
    database: Any
    s3: Any
    http: httpx.AsyncClient
    bucket: str


def aim_at(queue_url: str) -> None:
    """fal-client knows one queue, over https: send it to another."""
    fal_client.client.QUEUE_URL_FORMAT = f"{queue_url}/"


async def submit(request: Request) -> Response:
    """POST /jobs {prompt, imageUrl}: waits for fal's queue to take it."""
    parts: Parts = request.app.state.parts
    order = await request.json()
    arguments = {"prompt": order["prompt"], "image_url": order["imageUrl"], "duration": "2"}
    handle = await parts.fal.submit(MODEL, arguments)
    job_id = uuid.uuid4().hex
    row = {"fal_request_id": handle.request_id, "fal_model": MODEL, "status": "processing"}
    await parts.database.query("CREATE $job CONTENT $row", {"job": _record(job_id), "row": row})
    return JSONResponse({"jobId": job_id, "status": "processing"}, 202)


async def status(request: Request) -> Response:
    """GET /status?jobId=: a job that is not finished is looked up at fal, by every reader."""
    parts: Parts = request.app.state.parts
    job_id = request.query_params["jobId"]
    rows = await parts.database.query("SELECT * FROM $job", {"job": _record(job_id)}).first()
    if not rows:
        return JSONResponse({"error": "not found"}, 404)
    row = rows[0]
    if row["status"] != "completed":
        asked = await parts.fal.status(row["fal_model"], row["fal_request_id"])
        if isinstance(asked, fal_client.Completed):
            row |= await _finalised(parts, job_id, row)
    url = await _link(parts, row["key"]) if row["status"] == "completed" else None
    return JSONResponse({"jobId": job_id, "status": row["status"], "url": url})


async def health(request: Request) -> Response:
    return Response()


async def _finalised(parts: Parts, job_id: str, row: dict[str, Any]) -> dict[str, Any]:
    result = await parts.fal.result(row["fal_model"], row["fal_request_id"])
    video = (await parts.http.get(result["video"]["url"])).raise_for_status().content
    key = f"old/{job_id}.mp4"
    await parts.s3.put_object(Bucket=parts.bucket, Key=key, Body=video, ContentType="video/mp4")
    done = {"status": "completed", "key": key, "bytes": len(video)}
    await parts.database.query("UPDATE $job MERGE $done", {"job": _record(job_id), "done": done})
    return done


async def _link(parts: Parts, key: str) -> str:
    what = {"Bucket": parts.bucket, "Key": key}
    link: str = await parts.s3.generate_presigned_url("get_object", Params=what, ExpiresIn=LINK_S)
    return link


def _record(job_id: str) -> RecordID:
    return RecordID(TABLE, job_id)


@contextlib.asynccontextmanager
async def opened(app: Starlette) -> AsyncIterator[None]:
    settings = os.environ
    aim_at(settings["FAL_QUEUE_URL"])
    session = aioboto3.Session(
        aws_access_key_id=settings["R2_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["R2_SECRET_ACCESS_KEY"],
        region_name="auto",
    )
    database: Any = AsyncSurreal(settings["SURREALDB_URL"])
    await database.connect()
    user, password = settings["SURREALDB_USERNAME"], settings["SURREALDB_PASSWORD"]
    await database.signin({"username": user, "password": password})
    await database.use(settings["SURREALDB_NAMESPACE"], settings["SURREALDB_DATABASE"])
    await database.query(f"DEFINE TABLE IF NOT EXISTS {TABLE} SCHEMALESS")
    async with (
        session.client("s3", endpoint_url=settings["R2_ENDPOINT_URL"]) as s3,
        httpx.AsyncClient(timeout=DOWNLOAD_S, trust_env=False) as http,
    ):
        app.state.parts = Parts(
            fal=fal_client.AsyncClient(key=settings["FAL_KEY"]),
            database=database,
            s3=s3,
            http=http,
            bucket=settings["R2_BUCKET"],
        )
        yield
    await database.close()


ROUTES: Final = [
    Route("/jobs", submit, methods=["POST"]),
    Route("/status", status),
    Route("/health", health),
]


def main() -> None:
    app = Starlette(routes=ROUTES, lifespan=opened)
    port = int(sys.argv[1])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
