"""Cuts a stream into equal parts, and offers them as request bodies without copying them."""

import base64
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import IO, Any, cast

from service.domain.errors import Transient


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Bytes that go into one request."""

    chunks: tuple[bytes, ...]
    size: int
    md5: bytes

    def body(self) -> IO[Any]:
        """A request body, for one attempt. The stubs want a file; botocore is content with less."""
        return cast("IO[Any]", Body(self.chunks, self.size))

    @property
    def content_md5(self) -> str:
        return base64.b64encode(self.md5).decode("ascii")


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
    """Cuts a stream into parts of exactly `part_bytes` (the last may be shorter), hashing it."""

    def __init__(self, chunks: AsyncIterator[bytes], part_bytes: int) -> None:
        self._chunks = chunks
        self._part_bytes = part_bytes
        self._rest = b""
        self._sha256 = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

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
        size, md5 = 0, hashlib.md5(usedforsecurity=False)
        while size < self._part_bytes:
            chunk = self._rest or await anext(self._chunks, b"")
            if not chunk:
                break
            room = self._part_bytes - size
            # A memory view would keep the whole chunk alive; the copy is a few KiB per part.
            taken, self._rest = (chunk, b"") if len(chunk) <= room else (chunk[:room], chunk[room:])
            kept.append(taken)
            size += len(taken)
            md5.update(taken)
            self._sha256.update(taken)
        self.size += size
        return Part(chunks=tuple(kept), size=size, md5=md5.digest()) if kept else None
