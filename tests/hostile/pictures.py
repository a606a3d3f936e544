"""Image files as nobody's camera makes them."""

import io
import struct
import zlib
from typing import Any, Final

from PIL import Image

SIDE: Final = 64
ROWS: Final = zlib.compress((b"\0" + bytes(SIDE * 3)) * SIDE)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    *before: bytes, size: tuple[int, int] = (SIDE, SIDE), depth: int = 8, colours: int = 2,
    rows: bytes = ROWS, after: bytes = b"",
) -> bytes:  # fmt: skip
    """A PNG with these chunks in front of its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colours, 0, 0, 0))
    body = [head, *before, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + after


def flat_rows(width: int, height: int, bytes_each: int) -> bytes:
    """The packed rows of one colour: a thousandth of what they become."""
    packer, row = zlib.compressobj(1), b"\0" + bytes(width * bytes_each)
    packed = [packer.compress(row) for _ in range(height)]
    return b"".join([*packed, packer.flush()])


def saved(kind: str, size: tuple[int, int] = (SIDE, SIDE), mode: str = "RGB", **how: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **how)
    return out.getvalue()


def segment(marker: int, data: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(*between: bytes) -> bytes:
    """A JPEG with these bytes behind its first marker."""
    whole = saved("JPEG")
    return whole[:2] + b"".join(between) + whole[2:]


def scanned(times: int, size: tuple[int, int]) -> bytes:
    """A progressive JPEG whose last scan, some 75 bytes, comes so many times more."""
    whole = saved("JPEG", size, "L", progressive=True, optimize=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * times + whole[-2:]


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body
