"""MP4 files by layout, images by format, and the ways a CDN may serve them."""

import random
from collections.abc import AsyncIterator, Iterator

from tests.transfer.servers import Exchange, Handler

MIB = 1024 * 1024
FTYP = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41"


def box(kind: bytes, contents: bytes, *, long: bool = False) -> bytes:
    if long:
        return b"\0\0\0\1" + kind + (len(contents) + 16).to_bytes(8, "big") + contents
    return (len(contents) + 8).to_bytes(4, "big") + kind + contents


def mp4(size: int) -> bytes:
    """A file of exactly `size` bytes, media data first as ffmpeg writes it."""
    moov = box(b"moov", b"m" * 100)
    media = random.Random(size).randbytes(size - len(FTYP) - len(moov) - 8)
    return FTYP + box(b"mdat", media) + moov


def big_mp4(size: int) -> Iterator[bytes]:
    """The same in pieces, for files that nobody should hold."""
    moov = box(b"moov", b"m" * 100)
    left = size - len(FTYP) - len(moov) - 8
    yield FTYP + (left + 8).to_bytes(4, "big") + b"mdat"
    piece = random.Random(size).randbytes(MIB)
    while left:
        yield piece[:left]
        left -= min(left, MIB)
    yield moov


class Bytes:
    """A download of what is in memory, in chunks that fit no part; it may fail at the end."""

    def __init__(self, body: bytes, *, known: bool = True, then: Exception | None = None) -> None:
        self.size = len(body) if known else None
        self._body = body
        self._then = then

    async def chunks(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), 65_537):
            yield self._body[at : at + 65_537]
        if self._then is not None:
            raise self._then


def whole(body: bytes, *, etag: str = '"v1"', length: bool = True) -> Handler:
    async def handle(exchange: Exchange) -> None:
        if length:
            exchange.head(200, {"Content-Length": len(body), "ETag": etag})
        else:
            exchange.head(200, {}, version="1.0")
        await exchange.send(body)

    return handle


def breaking(body: bytes, *, every: int, etag: str = '"v1"') -> Handler:
    """Serves ranges honestly, and resets after `every` bytes of each answer."""

    async def handle(exchange: Exchange) -> None:
        start = exchange.start if exchange.headers.get("if-range", etag) == etag else 0
        told = {"Content-Length": len(body) - start, "ETag": etag}
        if start:
            told["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        exchange.head(206 if start else 200, dict(told))
        await exchange.send(body[start : start + every])

    return handle


def status(code: int, **headers: object) -> Handler:
    async def handle(exchange: Exchange) -> None:
        exchange.head(code, {"Content-Length": 0, **headers})

    return handle


def in_turn(*handlers: Handler) -> Handler:
    """The first answers the first request, and so on; the last answers all others."""
    left = list(handlers)

    async def handle(exchange: Exchange) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(exchange)

    return handle
