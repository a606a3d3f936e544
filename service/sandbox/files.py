"""The bytes of served files: a clip, padded where asked, read in ranges, without copies."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from service.sandbox.faults import Fault, FaultPlan

CHUNK: Final = 256 * 1024
HUGE: Final = 10 * 1024**3
_ZEROS: Final = bytes(CHUNK)
# An MP4 box is at least its length and its name; beyond 32 bits the length takes 8 more bytes.
_BOX_HEADER: Final = 8
_LARGE: Final = 2**32
_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


@dataclass(frozen=True, slots=True)
class FileBody:
    """`head`, then zeros up to `size`."""

    head: bytes
    size: int

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.head).hexdigest()[:32]}-{self.size:x}"'

    def read(self, span: range) -> Iterator[bytes]:
        """The bytes of `span` in chunks; zeros come from one shared chunk."""
        at = span.start
        while at < span.stop:
            if at < len(self.head):
                chunk = self.head[at : min(at + CHUNK, span.stop)]
            else:
                chunk = _ZEROS[: min(CHUNK, span.stop - at)]
            yield chunk
            at += len(chunk)


def file_body(clip: bytes, plan: FaultPlan) -> FileBody:
    """The file a request's URL serves, at its full length."""
    size = file_size(clip, plan)
    if Fault.HUGE in plan:
        size = HUGE
    if size == len(clip):
        return FileBody(clip, size)
    return FileBody(clip + _free_box(size - len(clip)), size)


def file_size(clip: bytes, plan: FaultPlan) -> int:
    """The length fal tells: the clip's, or what `bytes` asks for if a box fits in between."""
    wanted = int(plan.number(Fault.BYTES))
    return wanted if wanted >= len(clip) + _BOX_HEADER else len(clip)


def requested_span(header: str, size: int) -> range | None:
    """The one byte range `header` asks for; None if it cannot be given (416).

    A header in another unit, with several ranges or malformed is ignored: the whole file.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return range(size)
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last) + 1 if last else size, size)
    return range(start, stop) if start < stop else None


def _free_box(length: int) -> bytes:
    """The header of a `free` box of `length` bytes: players skip what it holds."""
    if length < _LARGE:
        return length.to_bytes(4, "big") + b"free"
    return (1).to_bytes(4, "big") + b"free" + length.to_bytes(8, "big")
