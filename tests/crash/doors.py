"""The doors between the flows and the world: every call through one is announced to the plan.

Nothing in production code knows of this. A port's methods are wrapped by name, so a new method
is a new pair of points by itself; below the ports, so are the S3 client's and fal's HTTP.
"""

import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
import httpx
from botocore.exceptions import ClientError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import service.flows
from service.adapters.fal import FalSettings, HttpFal
from service.adapters.object_store import BucketSettings, R2Bucket
from service.adapters.s3_calls import StorageLimits
from service.domain.errors import Transient
from service.ports import Bucket, DeliveryVerifier, Download, Fal, Nudge, Services, Store
from tests.crash.plan import Plan, Point, Process, Ways

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

Calling = Callable[[], Awaitable[Any]]

FLOWS: Final = str(Path(service.flows.__file__).parent)
# The flows a path is named after, and what starts tasks of its own inside them.
PATHS: Final = {
    "accept": "accept",
    "send": "send",
    "receive": "receive",
    "handle": "handle",
    "finalise": "finalise",
    "sweep_once": "sweep",
    "cancel": "cancel",
    "delete": "delete",
    "purge": "purge",
    "empty_account": "close",
    "stop": "stop",
    "afterwards": "afterwards",
    "move_on": "sweep",
    "_stored_video": "finalise",
    "_beat": "finalise",
}
PARTS_TOLD_APART: Final = 3  # later parts of an upload share a name


class Denied(Exception):
    """fal's answer to a key that it refuses."""


def _denied_by_the_store() -> Exception:
    refused = {
        "Error": {"Code": "AccessDenied"},
        "ResponseMetadata": {"HTTPStatusCode": 403},
    }
    return ClientError(cast("Any", refused), "any")


AT_ONCE: Final = Ways(waits=False)
TRANSIENT: Final = Ways(fails=lambda: Transient("injected"))
UNFAILING: Final = Ways()
FRONT: Final = Ways(breaks=False)  # our framework's own errors are not ours to inject
STORAGE: Final = Ways(
    fails=lambda: aiohttp.ClientConnectionError("injected"), denies=_denied_by_the_store
)
UNSENT: Final = Ways(fails=lambda: httpx.ConnectError("injected"), denies=Denied)
UNANSWERED: Final = Ways(fails=lambda: httpx.ReadError("injected"))

_path: ContextVar[str] = ContextVar("path", default="web")


def current_path() -> str:
    """The innermost flow that is being awaited here, or that started this task."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_name
        if name in PATHS and frame.f_code.co_filename.startswith(FLOWS):
            _path.set(PATHS[name])
            break
        frame = cast("Any", frame.f_back)
    return _path.get()


class Doors:
    """One process's doors."""

    def __init__(self, process: Process, plan: Plan) -> None:
        self.process = process
        self.plan = plan

    async def pass_through(self, door: str, ways: Ways, call: Calling) -> Any:
        """Make the call. An error it raises itself is an effect too: `·a` comes all the same."""
        path = current_path()
        await self.announce(f"{path}:{door}·b", ways)
        try:
            result = await call()
        except Exception:
            await self.announce(f"{path}:{door}·a", ways)
            raise
        await self.announce(f"{path}:{door}·a", ways)
        return result

    def pass_at_once(self, door: str, call: Callable[[], Any]) -> Any:
        path = current_path()
        self.plan.reach_at_once(self.process, Point(f"{path}:{door}·b", AT_ONCE))
        result = call()
        self.plan.reach_at_once(self.process, Point(f"{path}:{door}·a", AT_ONCE))
        return result

    async def announce(self, name: str, ways: Ways) -> None:
        await self.plan.reach(self.process, Point(name, ways))


def with_doors(services: Services, doors: Doors, wire: "Wiring") -> Services:
    """The same services for a process whose every effect is announced."""
    s3 = cast("S3Client", Ported(doors, "s3", wire.s3, STORAGE))
    client = httpx.AsyncClient(transport=Wire(doors, wire.transport), headers=wire.headers)
    return replace(
        services,
        store=cast("Store", Ported(doors, "store", services.store, TRANSIENT)),
        fal=cast("Fal", Ported(doors, "fal", HttpFal(client, wire.fal), TRANSIENT)),
        bucket=cast(
            "Bucket", Ported(doors, "bucket", R2Bucket(s3, wire.bucket, wire.limits), TRANSIENT)
        ),
        source=Source(doors, services.source),
        verifier=cast("DeliveryVerifier", Ported(doors, "verifier", services.verifier, TRANSIENT)),
        nudge=cast("Nudge", Ported(doors, "nudge", services.nudge, UNFAILING)),
    )


class Wiring:
    """What lies below the ports, shared by all processes of a rig."""

    def __init__(
        self,
        *,
        s3: Any,
        bucket: BucketSettings,
        limits: StorageLimits,
        transport: httpx.AsyncBaseTransport,
        fal: FalSettings,
    ) -> None:
        self.s3 = s3
        self.bucket = bucket
        self.limits = limits
        self.transport = transport
        self.fal = fal
        self.headers = {"Authorization": f"Key {fal.key}"}


class Ported:
    """A port whose methods are doors, found by name."""

    def __init__(self, doors: Doors, prefix: str, real: Any, ways: Ways) -> None:
        self._doors = doors
        self._prefix = prefix
        self._real = real
        self._ways = ways

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not callable(real):
            return real
        door = f"{self._prefix}.{name}"
        if self._prefix == "s3":  # plain functions that answer awaitables
            return partial(self._to_the_store, door, real)
        if inspect.iscoroutinefunction(real):
            return partial(self._awaited, door, real)
        return lambda *args, **named: self._doors.pass_at_once(door, partial(real, *args, **named))

    async def _awaited(self, door: str, real: Any, *args: Any, **named: Any) -> Any:
        # A submission's failures are outcomes, not errors; they arise on the wire.
        ways = UNFAILING if door == "fal.submit" else self._ways
        return await self._doors.pass_through(door, ways, partial(real, *args, **named))

    async def _to_the_store(self, door: str, real: Any, **named: Any) -> Any:
        if "PartNumber" in named:
            door = f"{door}_{min(named['PartNumber'], PARTS_TOLD_APART)}"
        return await self._doors.pass_through(door, self._ways, partial(real, **named))


class Source:
    """ports.VideoSource: opening is a door, and so are three instants of the transfer."""

    def __init__(self, doors: Doors, real: Any) -> None:
        self._doors = doors
        self._real = real

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[Download]:
        path = current_path()
        await self._doors.announce(f"{path}:source.fetch·b", TRANSIENT)
        try:
            opened = self._real.fetch(url)
            download = await opened.__aenter__()
        except Exception:
            await self._doors.announce(f"{path}:source.fetch·a", TRANSIENT)
            raise
        try:
            await self._doors.announce(f"{path}:source.fetch·a", TRANSIENT)
            yield _Watched(self._doors, path, download)
        finally:
            await opened.__aexit__(None, None, None)

    def shown(self, url: str) -> str | None:
        shown: str | None = self._real.shown(url)
        return shown


class _Watched:
    def __init__(self, doors: Doors, path: str, real: Download) -> None:
        self._doors = doors
        self._path = path
        self._real = real

    @property
    def size(self) -> int | None:
        return self._real.size

    async def chunks(self) -> AsyncIterator[bytes]:
        instants = ["first_byte", "mid"]
        async for chunk in self._real.chunks():
            if instants:
                await self._announce(instants.pop(0))
            yield chunk
        await self._announce("last")

    async def _announce(self, instant: str) -> None:
        await self._doors.announce(f"{self._path}:download.{instant}·a", TRANSIENT)


class Wire(httpx.AsyncBaseTransport):
    """fal's HTTP: `·b` before a byte is sent, `·sent` once fal has acted and begins to answer."""

    def __init__(self, doors: Doors, real: httpx.AsyncBaseTransport) -> None:
        self._doors = doors
        self._real = real

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = f"{_path.get()}:wire.{_asked(request)}"
        try:
            await self._doors.announce(f"{name}·b", UNSENT)
        except Denied:
            return httpx.Response(401, json={"detail": "invalid key credentials"}, request=request)
        response = await self._real.handle_async_request(request)
        try:
            await self._doors.announce(f"{name}·sent", UNANSWERED)
        except BaseException:
            await response.aclose()
            raise
        return response

    async def aclose(self) -> None:
        """The real transport is everybody's."""


def _asked(request: httpx.Request) -> str:
    if request.method == "POST":
        return "submit"
    last = request.url.path.rsplit("/", 1)[-1]
    names = {
        "status": "status",
        "cancel": "cancel",
        "by-endpoint": "listing",
        "payloads": "forget",
    }
    return names.get(last, "result")


def with_front_doors(app: ASGIApp, doors: Doors) -> ASGIApp:
    """The application behind two doors of its own: the request's last byte, and the answer."""

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        path = _path_of(scope["path"])

        async def heard() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                await doors.announce(f"{path}:front.body·a", FRONT)
            return message

        async def said(message: Message) -> None:
            first = message["type"] == "http.response.start"
            if first:
                await doors.announce(f"{path}:front.reply·b", FRONT)
            await send(message)
            if not first and not message.get("more_body"):
                await doors.announce(f"{path}:front.reply·a", FRONT)

        await app(scope, heard, said)

    return front


def _path_of(url_path: str) -> str:
    if url_path.startswith("/api/fal/webhook/"):
        return "receive"
    if url_path.startswith("/api/library/"):
        return "delete"
    return "cancel" if url_path.endswith("/cancel") else "accept"
