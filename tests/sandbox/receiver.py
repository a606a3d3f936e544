"""A webhook receiver: records what arrives, answers what it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

TIMEOUT_S = 20


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """Speaks just enough HTTP. `answers` are used up in order, then it is 200; None: silence."""

    url: str = ""
    answers: list[int | None] = field(default_factory=list)
    refusing: bytes | None = None  # 503 for every webhook that contains this
    received: list[Received] = field(default_factory=list)
    broken: list[Exception] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def serve(self, path: str, data: bytes) -> str:
        """Serve `data` at `path`, as a start image."""
        self.files[path] = data
        return f"{self.url}{path}"

    def forget(self) -> None:
        self.answers.clear()
        self.refusing = None
        self.received.clear()
        self.files.clear()

    async def webhooks(self, count: int = 1) -> list[Received]:
        """Wait until so many webhooks arrived."""
        await self.until(lambda: len(self.posted) >= count)
        return self.posted

    @property
    def posted(self) -> list[Received]:
        return [each for each in self.received if each.method == "POST"]

    async def until(self, holds: Callable[[], bool]) -> bool:
        async with asyncio.timeout(TIMEOUT_S), self.changed:
            return await self.changed.wait_for(holds)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            self.broken.append(error)  # a delivery that was given up on, or the test's end
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        pairs = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): value for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        async with self.changed:
            self.received.append(Received(method, path, headers, body))
            self.changed.notify_all()
        status, content = self._content(method, path, body)
        if status is None:
            await reader.read()  # until the other side gives up
            return
        start = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\nConnection: close\r\n"
        location = "Location: /elsewhere\r\n" if 300 <= status < 400 else ""
        writer.write(f"{start}{location}\r\n".encode() + content)
        await writer.drain()

    def _content(self, method: str, path: str, body: bytes) -> tuple[int | None, bytes]:
        if method == "GET":
            return (200, self.files[path]) if path in self.files else (404, b"")
        if self.refusing and self.refusing in body:
            return 503, b""
        return (self.answers.pop(0) if self.answers else 200), b""


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    listening = Receiver()
    server = await asyncio.start_server(listening.handle, "127.0.0.1", 0)
    listening.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield listening
    finally:
        server.close()
        for writer in listening.writers:
            writer.close()
        await server.wait_closed()
