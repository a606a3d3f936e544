"""How an image file is put together, found without decoding it: what its decoding may cost.

A few bytes can ask for much work. A progressive JPEG passes over all of its pixels once for each
scan, and a scan may be 75 bytes long; a decoder reads a PNG's chunks and a JPEG's segments one by
one, and each may be empty. So both are counted before any decoder sees the file.
"""

import re
from collections.abc import Iterator
from itertools import repeat
from typing import Final

PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
PNG_END: Final = b"IEND"
# libpng writes 8 KiB a chunk: 2,500 for the largest upload. This many take a decoder 0.1 s.
MAX_PARTS: Final = 20_000
# Some 2 s of work. Encoders write 10 scans, some optimisers 20: fine for 50 million pixels.
MAX_SCANNED_PIXELS: Final = 1_000_000_000

JPEG_START: Final = b"\xff\xd8"

_FILL: Final = 0xFF
_SCAN: Final = 0xDA
_END: Final = 0xD9
_ALONE: Final = frozenset({0x01, 0xD8, _END, *range(0xD0, 0xD8)})  # markers without a length
# Inside a scan 0xff stands for itself before a zero, and counts restarts before d0 to d7.
_MARKER: Final = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")


class TooIntricate(Exception):
    """The file has more parts than any encoder makes of an image."""


def png_end(data: bytes) -> int | None:
    """Where the last chunk ends, or None if there is no last chunk. Raises TooIntricate."""
    at = len(PNG_HEAD)
    for _ in range(MAX_PARTS):
        if at >= len(data):
            return None
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + size  # length, type and checksum
        if kind == PNG_END:
            return at
    raise TooIntricate


def jpeg_scans(data: bytes) -> int:
    """How often a decoder passes over the picture. Raises TooIntricate."""
    scans = 0
    for number, marker in enumerate(_jpeg_markers(data)):
        if number >= MAX_PARTS:
            raise TooIntricate
        scans += marker == _SCAN
    return scans


def _jpeg_markers(data: bytes) -> Iterator[int]:
    """Each marker up to the image's end, found as decoders find them: what is between is skipped.

    Before the first scan a byte between two segments costs a decoder a step: it is told as well.
    """
    at, in_head = len(JPEG_START), True
    while found := _MARKER.search(data, at):
        marker = found[1][0]
        if in_head:
            yield from repeat(_FILL, found.start() - at)
        yield marker
        if marker == _END:
            return
        in_head = in_head and marker != _SCAN
        at = found.end()
        if marker not in _ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
