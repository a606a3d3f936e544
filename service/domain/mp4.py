"""Is this stream a whole MP4? A walk over the top-level boxes, without holding the file."""

from typing import Final

from service.domain.errors import NotAVideo

# ffmpeg and every provider's muxer write 20-40 bytes; a brand list of 4 KiB is not a real file.
FTYP_SIZES: Final = range(16, 4097)
# Box layouts with other contents: a QuickTime movie, still images, audio alone.
OTHER_BRANDS: Final = frozenset(
    {b"qt  ", b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"M4A ", b"M4B "}
)
# A fragmented MP4 has two boxes per fragment; hours of one-second fragments stay far below this,
# and a file of empty boxes cannot make us loop for every eighth byte of 2 GiB.
MAX_BOXES: Final = 100_000

SHORT_HEADER: Final = 8
LONG_HEADER: Final = 16  # a size field of 1 says that 64 bits of size follow the type


class Mp4Walk:
    """Reads box headers and skips their contents; never looks at a byte twice.

    How the bytes are cut into chunks makes no difference. Raises NotAVideo at the first byte
    that rules an MP4 out; after that the walk is of no further use.

    A cut exactly between two fragments of a fragmented MP4 looks whole: only a length from
    outside tells that one.
    """

    def __init__(self) -> None:
        self._header = b""
        self._skip = 0
        self._boxes = 0
        self._seen: set[bytes] = set()
        self.open_ended = False
        """The last box lasts to the end of the file: the walk alone cannot tell a cut."""

    @property
    def recognised(self) -> bool:
        """The head of the file has been read, and it is an MP4's."""
        return self._boxes > 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises NotAVideo when a box is malformed or the head no MP4's."""
        at = 0
        while at < len(chunk) and not self.open_ended:
            if self._skip:
                step = min(self._skip, len(chunk) - at)
                self._skip -= step
                at += step
            else:
                step = self._header_size() - len(self._header)
                self._header += chunk[at : at + step]
                at += step
                if len(self._header) == self._header_size():
                    self._enter_box()

    def finish(self) -> None:
        """The stream has ended. Raises NotAVideo unless it ended where a whole MP4 ends."""
        if self._skip or self._header:
            raise NotAVideo("the file ends in the middle of a box")
        missing = {b"ftyp", b"moov", b"mdat"} - self._seen
        if missing:
            names = ", ".join(sorted(kind.decode() for kind in missing))
            raise NotAVideo(f"the file has no {names} box")

    def _header_size(self) -> int:
        """How much header this box has; for the first one, its brand belongs to it."""
        if not self._boxes:
            return FTYP_SIZES.start
        return LONG_HEADER if self._header[:4] == b"\0\0\0\1" else SHORT_HEADER

    def _enter_box(self) -> None:
        header, self._header = self._header, b""
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if not self._boxes:
            _check_head(size, kind, brand=header[8:12])
        elif len(header) == LONG_HEADER:
            size = int.from_bytes(header[8:], "big")
        self._boxes += 1
        self._seen.add(kind)
        if self._boxes > MAX_BOXES:
            raise NotAVideo(f"the file has more than {MAX_BOXES} top-level boxes")
        # The format allows a box without a size last in a file; only media data ever is one.
        self.open_ended = size == 0 and kind == b"mdat"
        if not self.open_ended:
            if size < len(header) or not _plausible(kind):
                raise NotAVideo(f"box {self._boxes} is malformed")
            self._skip = size - len(header)


def _check_head(size: int, kind: bytes, *, brand: bytes) -> None:
    if kind != b"ftyp" or size not in FTYP_SIZES:
        raise NotAVideo("the file does not start like an MP4")
    if brand in OTHER_BRANDS:
        raise NotAVideo(f"the file is no MP4 but of the brand {brand.decode('ascii').strip()}")


def _plausible(kind: bytes) -> bool:
    """Box types are four printable characters; QuickTime's own begin with a copyright sign."""
    name = kind.removeprefix(b"\xa9")
    return name.isascii() and name.decode("ascii").isprintable()
