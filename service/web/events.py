"""A job's status as it changes: Server-Sent Events, and a status read that waits."""

import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from service.domain.errors import FieldError, Invalid, NotFound
from service.domain.job import Job
from service.ports import Services
from service.web.answers import JobView
from service.web.requests import own_job, runtime_of
from service.web.streams import Streams
from service.web.views import job_view, tagged_version
from service.web.watching import Closed

# Proxies cut what is silent, Cloudflare after 100 s; the estimate is told anew as often.
HEARTBEAT_S: Final = 10.0
STREAM_S: Final = 600.0  # then the client comes back, with a sign-in that is still good
RECONNECT_MS: Final = 2_000
MAX_WAIT_S: Final = 25  # of a long poll: shorter than the patience of any proxy

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back to fill a buffer
}
_NEWS: Final[tuple[Literal["version", "progress", "etaSeconds"], ...]] = (
    "version",
    "progress",
    "etaSeconds",
)
_SECONDS: Final = re.compile(r"[0-9]{1,2}")


async def stream_status(request: Request) -> Response:
    """GET /api/templates/video/events: the status now, and again each time that it changes.

    A client that names the version it has seen gets only what is newer. While a job stands still
    its estimate is sent again, or a comment, so that neither side mistakes a wait for an end. Ends
    after a final state; 204 to a client that has seen it, which stops an EventSource for good.
    """
    runtime, streams = runtime_of(request), streams_of(request)
    job = await own_job(request, runtime)
    seen = request.headers.get("last-event-id", "")
    if job.is_final and seen == str(job.version):
        return Response(status_code=204)
    streams.enter(job.owner)
    return _EventStream(
        streams, job, _events(runtime.services, streams, job, fresh=seen != str(job.version))
    )


async def when_changed(request: Request, job: Job) -> Job:
    """The job as it is, or once it changes if the request says `wait` and has seen this version.

    What the client has seen is the version in its If-None-Match. Raises Invalid, TooManyStreams,
    and NotFound if it is deleted meanwhile.
    """
    wait_s = _wait_s(request)
    seen = tagged_version(request.headers.get("if-none-match", ""))
    if not wait_s or job.is_final or seen != job.version:
        return job
    streams, began = streams_of(request), time.monotonic()
    with streams.waiting(job.owner):
        try:
            with streams.watcher.watch(job) as watch:
                changed = await watch.next(wait_s)
        except Closed:
            changed = None
    if changed and changed.is_deleted:
        raise NotFound("there is no such job")
    return changed or _as_of_now(job, began)


def streams_of(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


class _EventStream(StreamingResponse):
    """Counts its stream out when it ends, also where the client left before it had begun."""

    def __init__(self, streams: Streams, job: Job, events: AsyncIterator[str]) -> None:
        super().__init__(events, headers=HEADERS)
        self._streams = streams
        self._owner = job.owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.leave(self._owner)


async def _events(
    services: Services, streams: Streams, job: Job, *, fresh: bool
) -> AsyncIterator[str]:
    yield f"retry: {RECONNECT_MS}\n\n"
    told: JobView | None = None
    read = time.monotonic()
    end = read + STREAM_S
    if fresh:
        told = job_view(services, job)
        yield _event(told)
    try:
        with streams.watcher.watch(job) as watch:
            while not job.is_final and time.monotonic() < end:
                if changed := await watch.next(HEARTBEAT_S):
                    job, read = changed, time.monotonic()
                if job.is_deleted:  # a client that comes back learns that there is no such job
                    return
                view = job_view(services, _as_of_now(job, read))
                yield _event(view) if _says_more(view, told) else ": still here\n\n"
                told = view
    except Closed:
        return


def _says_more(view: JobView, told: JobView | None) -> bool:
    """Whether a client would show something else; that an address is signed anew is nothing."""
    return told is None or any(view[name] != told[name] for name in _NEWS)


def _as_of_now(job: Job, read: float) -> Job:
    """The job as a read would show it now, if nothing but time has passed since `read`."""
    return replace(job, read_at=job.read_at + timedelta(seconds=time.monotonic() - read))


def _event(view: JobView) -> str:
    data = json.dumps(view, separators=(",", ":"), ensure_ascii=False)
    return f"id: {view['version']}\ndata: {data}\n\n"


def _wait_s(request: Request) -> int:
    text = request.query_params.get("wait", "0")
    if not (_SECONDS.fullmatch(text) and int(text) <= MAX_WAIT_S):
        raise Invalid([FieldError("wait", f"must be a whole number of seconds to {MAX_WAIT_S}")])
    return int(text)
