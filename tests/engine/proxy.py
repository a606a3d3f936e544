"""A network that fails on demand between the service and the engine: a TCP proxy on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from service.adapters.surreal import DatabaseSettings

HOST: Final = "127.0.0.1"
CHUNK: Final = 1 << 16


class Fault(Enum):
    """What happens to the next exchange. Each ends its connection."""

    REQUEST_TORN = auto()  # half of the request arrives: it is never executed
    CUT_AT_ONCE = auto()  # the request arrives, maybe; the commit is under way, maybe
    ANSWER_LOST = auto()  # it was executed and answered; nobody hears of it


class Proxy:
    """Passes bytes on, both ways. `lost` counts the faults that have happened."""

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self.lost = 0
        self.connections = 0
        self.faults: list[Fault] = []
        self._upstream_port = upstream_port
        self._answering = asyncio.Event()
        self._answering.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()

    def leading_to(self, settings: DatabaseSettings) -> DatabaseSettings:
        """The same database by way of this proxy."""
        return replace(settings, url=f"ws://{HOST}:{self.port}")

    async def listen(self) -> None:
        """Take connections (again), always on the same port."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Nobody listens any more, and what was connected is cut."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*filter(None, self._tasks))

    def cut(self) -> None:
        """Every connection breaks off. New ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    def hush(self) -> None:
        """Answers are held back from now on: the peer is there, and silent."""
        self._answering.clear()

    def speak(self) -> None:
        self._answering.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        with contextlib.suppress(OSError):
            upstream, to_upstream = await asyncio.open_connection(HOST, self._upstream_port)
            ends = {writer, to_upstream}
            self._writers |= ends
            pumps = {
                asyncio.create_task(self._requests(reader, to_upstream)),
                asyncio.create_task(self._answers(upstream, writer)),
            }
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            to_upstream.transport.abort()
            self._writers -= ends
        writer.transport.abort()
        self._tasks.discard(task)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(CHUNK):
            fault = self._take(Fault.REQUEST_TORN, Fault.CUT_AT_ONCE)
            writer.write(request[: len(request) // 2] if fault is Fault.REQUEST_TORN else request)
            await writer.drain()
            if fault is not None:
                return

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer := await reader.read(CHUNK):
            if self._take(Fault.ANSWER_LOST) is not None:
                return
            await self._answering.wait()
            writer.write(answer)
            await writer.drain()

    def _take(self, *mine: Fault) -> Fault | None:
        if not self.faults or self.faults[0] not in mine:
            return None
        self.lost += 1
        return self.faults.pop(0)


@contextlib.asynccontextmanager
async def running_proxy(upstream_port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(upstream_port)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.refuse()
