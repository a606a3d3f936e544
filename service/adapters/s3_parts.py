"""Cuts a stream into equal parts, and offers them as request bodies without copying them."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final, cast

from service.domain.errors import Transient

# So much at a time goes to the thread that hashes: each time costs, and the last one is waited for.
HASHED_AT_ONCE: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Bytes that go into one request. Their MD5 may still be worked out: see `PartReader`."""

    chunks: tuple[bytes, ...]
    size: int
    md5: asyncio.Future[bytes]

    def body(self) -> IO[Any]:
        """A request body, for one attempt. The stubs want a file; botocore is content with less."""
        return cast("IO[Any]", Body(self.chunks, self.size))


def content_md5(md5: bytes) -> str:
    return base64.b64encode(md5).decode("ascii")


class Body:
    """A request body over chunks as they came, without joining them.

    aiohttp iterates it. botocore measures it (`len`, `seek`, `tell`) and, over plain http, where
    payloads are signed, reads it through first. Each attempt to send needs a body of its own.
    """

    def __init__(self, chunks: tuple[bytes, ...], size: int) -> None:
        self._chunks = chunks
        self._size = size
        self._unread: Iterable[bytes] = iter(chunks)
        self._position = 0

    def __len__(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """To the start or the end, the only places that botocore goes to."""
        self._position = self._size + offset if whence else offset
        assert self._position in {0, self._size}, "a body is read whole or not at all"
        self._unread = iter(self._chunks if self._position == 0 else ())
        return self._position

    def read(self, _at_most: int = -1) -> bytes:
        """The next chunk, which may be longer than asked for: hashing does not mind."""
        chunk = next(iter(self._unread), b"")
        self._position += len(chunk)
        return chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


class PartReader:
    """Cuts a stream into parts of exactly `part_bytes` (the last may be shorter), hashing it.

    The two hashes cost more than all else. Each has a thread, one only as it needs the bytes in
    their order; the next part is read meanwhile.
    """

    def __init__(
        self, chunks: AsyncIterator[bytes], part_bytes: int, md5s: Executor, sha256: Executor
    ) -> None:
        self._chunks = chunks
        self._part_bytes = part_bytes
        self._md5s = md5s
        self._sha256_thread = sha256
        self._rest = b""
        self._sha256 = hashlib.sha256()
        self.size = 0

    async def sha256(self) -> str:
        """Of all parts so far."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._sha256_thread, self._sha256.hexdigest)

    async def head(self) -> list[Part]:
        """The first two parts, or the only one. Raises Transient when there is nothing at all."""
        first = await self.next()
        if first is None:
            raise Transient("the download came to nothing")
        second = await self.next()
        return [first] if second is None else [first, second]

    async def next(self) -> Part | None:
        """The next part, or None after the last. Raises what the stream raises."""
        kept: list[bytes] = []
        size, hashed, unhashed = 0, 0, 0
        md5 = hashlib.md5(usedforsecurity=False)
        while size < self._part_bytes:
            chunk = self._rest or await anext(self._chunks, b"")
            if not chunk:
                break
            room = self._part_bytes - size
            # A memory view would keep the whole chunk alive; the copy is a few KiB per part.
            taken, self._rest = (chunk, b"") if len(chunk) <= room else (chunk[:room], chunk[room:])
            kept.append(taken)
            size += len(taken)
            unhashed += len(taken)
            if unhashed >= HASHED_AT_ONCE:
                self._hash(kept[hashed:], md5)
                hashed, unhashed = len(kept), 0
        self.size += size
        if not kept:
            return None
        digest = self._hash(kept[hashed:], md5)
        return Part(chunks=tuple(kept), size=size, md5=asyncio.wrap_future(digest))

    def _hash(self, chunks: list[bytes], md5: "hashlib._Hash") -> "Future[bytes]":
        """Begin to; the MD5 of the part so far is what comes of it."""
        self._sha256_thread.submit(_update, self._sha256, chunks)
        return self._md5s.submit(_update, md5, chunks)


def _update(digest: "hashlib._Hash", chunks: list[bytes]) -> bytes:
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


class Hashers:
    """Pairs of threads that hash, one for each reader. They are kept: to start one takes 1 ms."""

    def __init__(self) -> None:
        self._idle: list[tuple[Executor, Executor]] = []

    @contextmanager
    def reading(self, chunks: AsyncIterator[bytes], part_bytes: int) -> Iterator[PartReader]:
        """A reader, for as long as the block lasts."""
        pair = self._idle.pop() if self._idle else (_thread(), _thread())
        try:
            yield PartReader(chunks, part_bytes, *pair)
        finally:
            self._idle.append(pair)


def _thread() -> Executor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="hash")
