"""A raw loopback server in fal's place: what arrives is kept, what is answered is each test's."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from service.adapters.fal import FalSettings, HttpFal, open_fal

KEY = "the-fal-key"


@dataclass(frozen=True)
class Heard:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Exchange:
    heard: Heard
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(
        self, status: int, body: bytes | Any = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"Content-Length": str(len(content)), "Connection": "close", **(headers or {})}
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        self.writer.write(head.encode() + b"\r\n" + content)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Until the client goes away."""
        await self.reader.read()


Behave = Callable[[Exchange], Awaitable[None]]


@dataclass
class RawFal:
    behave: Behave | None = None
    heard: list[Heard] = field(default_factory=list)
    url: str = ""

    def says(self, status: int, body: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer everything so."""
        self.behave = lambda exchange: exchange.answer(status, body, headers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v for k, v in (each.split(": ", 1) for each in lines)}
            method, target, _ = line.split()
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            exchange = Exchange(Heard(method, target, headers, body), reader, writer)
            self.heard.append(exchange.heard)
            assert self.behave is not None
            await self.behave(exchange)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw_fal() -> AsyncIterator[tuple[RawFal, HttpFal]]:
    """The server, and the adapter under test pointed at it."""
    raw = RawFal()
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = FalSettings(key=KEY, queue_url=raw.url, platform_url=raw.url)
    async with server, open_fal(settings) as fal:
        yield raw, fal
