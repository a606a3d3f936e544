"""Two servers that misbehave on request: a CDN, and a proxy in front of the object store.

They run on a loop of their own in a thread, so that the loop under test holds nothing but the
code under test: a task that is left over there is ours.
"""

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")
CARRIED_OUT = {"lose", "flip"}
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ServerThread:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: list[asyncio.Server] = []
        self._handlers: set[asyncio.Task[Any]] = set()

    def listen(self, serve: Serve) -> int:
        """The port on loopback at which `serve` is called for each connection."""
        server = self.run(asyncio.start_server(partial(self._keep, serve), "127.0.0.1", 0))
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _keep(
        self, serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Nothing but its socket holds a handler, and one that is not read from holds nothing."""
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        try:
            await serve(reader, writer)
        finally:
            self._handlers.discard(handler)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def stop(self) -> None:
        self.run(self._close_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _close_all(self) -> None:
        for server in self._servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):  # what was closed needs a few turns of the loop to be gone
            await asyncio.sleep(0)


@dataclass
class Exchange:
    """One request to the CDN, and the means to answer it well or badly."""

    path: str
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def start(self) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(asked[1]) if asked else 0

    def head(self, status: int, headers: dict[str, object], version: str = "1.1") -> None:
        lines = [f"HTTP/{version} {status} X", *(f"{k}: {v}" for k, v in headers.items())]
        self.writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Until the client goes away."""
        await self.reader.read()

    async def pause(self, seconds: float) -> None:
        """Slowness is the fault here; nothing waits for it to pass."""
        await asyncio.sleep(seconds)


Handler = Callable[[Exchange], Awaitable[None]]


class FaultCdn:
    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Exchange] = []
        self._routes: dict[str, Handler] = {}

    def url(self, handler: Handler, host: str = "127.0.0.1") -> str:
        path = f"/{len(self._routes)}.mp4"
        self._routes[path] = handler
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            method_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines if line)
            path = method_line.split()[1]
            exchange = Exchange(path, {k.lower(): v for k, v in pairs}, reader, writer)
            self.requests.append(exchange)
            await self._routes[path.split("?")[0]](exchange)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@dataclass
class Fault:
    """Do `action` to the next `times` requests whose "METHOD target" matches `pattern`.

    Actions: "503 SlowDown" (any status and code), "reset" (before the answer), "lose" (carry the
    request out, then reset), "silent" (read it, never answer), "stuck" (stop reading).
    """

    pattern: str
    action: str
    times: int = 1


@dataclass
class S3FaultProxy:
    """Stands in front of a store. `path` is where S3 begins there; the log and patterns omit it.

    moto needs `one_at_a_time`. It is not atomic where R2 is: its racing completes can all win,
    and a part that meets the abort of its upload makes it fall over.
    """

    upstream_port: int
    path: str = ""
    one_at_a_time: bool = False
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _store: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stuck: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = field(default_factory=list)

    def sent(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, line)) for line in self.log)

    def forget(self) -> None:
        """No faults, an empty log, and the connections that were stuck are closed."""
        self.faults.clear()
        self.log.clear()
        while self._stuck:
            loop, over = self._stuck.pop()
            loop.call_soon_threadsafe(over.set)

    async def _forgotten(self) -> None:
        over = asyncio.Event()
        self._stuck.append((asyncio.get_running_loop(), over))
        await over.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._exchange(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.decode("latin-1").split(" HTTP/", 1)[0].replace(self.path, "", 1)
        self.log.append(line)
        action = self._action(line)
        if action == "stuck":
            await self._forgotten()
            return
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        if action == "flip":
            body = bytes([body[0] ^ 1]) + body[1:]
        if action == "silent":
            await reader.read()
        elif action == "reset":
            writer.transport.abort()
        elif action is not None and action not in CARRIED_OUT:
            status, code = action.split()
            writer.write(_refusal(status, code, head.startswith(b"HEAD ")))
        else:
            async with self._store if self.one_at_a_time else nullcontext():
                if reader.at_eof():  # the client left: a store would not see this request through
                    return
                answer = await self._forward(head, body)
            if action == "lose":
                writer.transport.abort()
            else:
                writer.write(answer)
        await writer.drain()

    def _action(self, line: str) -> str | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, line):
                fault.times -= 1
                return fault.action
        return None

    async def _forward(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        try:
            writer.write(head[:-2] + b"Connection: close\r\n\r\n" + body)
            return await _answer(reader, to_head=head.startswith(b"HEAD "))
        finally:
            writer.transport.abort()  # the answer is here, or will never be


async def _answer(reader: asyncio.StreamReader, *, to_head: bool) -> bytes:
    """The whole answer. Not every store hangs up after it, though asked to."""
    head = await reader.readuntil(b"\r\n\r\n")
    if to_head or re.match(rb"HTTP/1.1 (204|304)", head):
        return head
    if length := re.search(rb"(?i)\r\ncontent-length: (\d+)", head):
        return head + await reader.readexactly(int(length[1]))
    return head + await reader.read()


def _refusal(status: str, code: str, is_head: bool) -> bytes:  # noqa: FBT001 - test helper
    xml = b"" if is_head else f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(xml)}\r\nConnection: close\r\n\r\n"
    return head.encode() + xml
