"""The CDN: public files with ranges, and every way in which serving one can go wrong."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from itertools import repeat
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.sandbox.connection import gone, transport
from service.sandbox.faults import Fault, FaultPlan
from service.sandbox.files import CHUNK, FileBody, file_body, requested_span
from service.sandbox.records import Generation
from service.sandbox.stage import stage

METADATA_ADDRESS: Final = "http://169.254.169.254/latest/meta-data/"
VIDEO: Final = "video/mp4"
_PAGE: Final = "<!doctype html><title>Oops</title><p>Something went wrong on our side.</p>"
# A paced file is sent in so many pieces a second.
_PIECES_PER_S: Final = 20


class Ending(StrEnum):
    """What follows the last byte that is sent."""

    PROPER = "the end of the response"
    CUT = "the end of the connection"
    STALL = "nothing, while the client stays"


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """How a body travels. `pace` is bytes per second, None for full speed."""

    half: bool = False
    ending: Ending = Ending.PROPER
    sized: bool = True
    endless: bool = False
    pace: float | None = None


@dataclass(frozen=True, kw_only=True)
class FileAnswer:
    """An ASGI response that streams a span of a file, honestly or not."""

    body: FileBody
    span: range
    status: HTTPStatus
    transfer: Transfer
    headers: Mapping[str, str] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(self._start())
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body"})
            return
        line = transport(scope)
        for chunk in self._chunks():
            if line.is_closing():
                await gone(receive)
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if self.transfer.pace:
                await asyncio.sleep(len(chunk) / self.transfer.pace)
        match self.transfer.ending:
            case Ending.PROPER:
                await send({"type": "http.response.body"})
            case Ending.CUT:
                line.close()
                await gone(receive)
            case Ending.STALL:
                await gone(receive)

    def _start(self) -> dict[str, object]:
        headers = {"content-type": VIDEO, "etag": self.body.etag, "accept-ranges": "bytes"}
        if self.transfer.sized:
            headers["content-length"] = str(len(self.span))
        headers |= self.headers
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        return {"type": "http.response.start", "status": self.status, "headers": raw}

    def _chunks(self) -> Iterator[bytes]:
        span = self.span[: len(self.span) // 2] if self.transfer.half else self.span
        pieces = (
            chunk[at : at + self._piece()]
            for chunk in self.body.read(span)
            for at in range(0, len(chunk), self._piece())
        )
        yield from pieces
        if self.transfer.endless:
            yield from repeat(bytes(CHUNK))

    def _piece(self) -> int:
        pace = self.transfer.pace
        return max(1, int(pace / _PIECES_PER_S)) if pace else CHUNK


async def file(request: Request) -> Response | FileAnswer:
    """GET /files/b/{name}/out.mp4: no key needed, faults as the request's plan says."""
    generation = _found(request)
    if generation is None:
        return _missing()
    plan = generation.plan
    if (failure := _failure(request, generation)) is not None:
        return failure
    return _answer(request, file_body(generation.clip, plan), _transfer(plan))


async def real_file(request: Request) -> Response | FileAnswer:
    """GET /files/b/{name}/real.mp4: where `redirect` leads, always good."""
    generation = _found(request)
    if generation is None:
        return _missing()
    return _answer(request, FileBody(generation.clip, len(generation.clip)), Transfer())


ROUTES: Final = [
    Route("/files/b/{name}/out.mp4", file, methods=["GET"]),
    Route("/files/b/{name}/real.mp4", real_file, methods=["GET"]),
]


def _found(request: Request) -> Generation | None:
    here = stage(request)
    generation = here.queue.files.get(request.path_params["name"])
    here.totals["files"] += 1
    if generation is None or request.path_params["name"] not in generation.files:
        return None
    generation.counts["files"] += 1
    return generation


def _missing() -> Response:
    return JSONResponse({"detail": "File not found"}, HTTPStatus.NOT_FOUND)


def _failure(request: Request, generation: Generation) -> Response | None:
    """The answer in place of the file, if the plan has one."""
    plan, name = generation.plan, request.path_params["name"]
    first_of_all = name == generation.files[0]
    answers: dict[Fault, Response] = {
        Fault.GONE: _missing(),
        Fault.REDIRECT_PRIVATE: RedirectResponse(METADATA_ADDRESS, HTTPStatus.FOUND),
        Fault.REDIRECT: RedirectResponse(f"/files/b/{name}/real.mp4", HTTPStatus.FOUND),
        Fault.HTML: HTMLResponse(_PAGE, headers={"content-type": VIDEO}),
        Fault.EMPTY_FILE: Response(b"", media_type=VIDEO),
    }
    if Fault.GONE_ONCE in plan and first_of_all:
        return _missing()
    if generation.counts["files"] <= plan.number(Fault.FILE_503):
        return JSONResponse({"detail": "try later"}, HTTPStatus.SERVICE_UNAVAILABLE)
    return next((answer for fault, answer in answers.items() if fault in plan), None)


def _transfer(plan: FaultPlan) -> Transfer:
    pace = plan.number(Fault.SLOW_FILE) or None
    if Fault.TRUNCATED in plan:
        return Transfer(half=True, ending=Ending.CUT, pace=pace)
    if Fault.SHORT in plan:
        return Transfer(half=True, sized=False, pace=pace)
    if Fault.STALLED_FILE in plan:
        return Transfer(half=True, ending=Ending.STALL, pace=pace)
    if Fault.ENDLESS in plan:
        return Transfer(sized=False, endless=True, pace=pace)
    return Transfer(pace=pace)


def _answer(request: Request, body: FileBody, transfer: Transfer) -> Response | FileAnswer:
    """The whole file, or the range asked for if `If-Range` still names this very file."""
    asked = request.headers.get("range")
    if asked is None or request.headers.get("if-range", body.etag) != body.etag:
        asked = ""
    span = requested_span(asked, body.size)
    if span is None:
        unsatisfied = {"content-range": f"bytes */{body.size}"}
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return Response(status_code=status, headers=unsatisfied)
    if len(span) == body.size:
        return FileAnswer(body=body, span=span, status=HTTPStatus.OK, transfer=transfer)
    shown = {"content-range": f"bytes {span.start}-{span.stop - 1}/{body.size}"}
    return FileAnswer(
        body=body,
        span=span,
        status=HTTPStatus.PARTIAL_CONTENT,
        transfer=transfer,
        headers=shown,
    )
