"""Makes thumbnails: the video in a folder of its own, and a confined child process to decode it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, cast

from service.domain.errors import NotAVideo, SourceTooLarge, Transient
from service.domain.policy import MAX_POSTER_SOURCE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

# Run by its path and in isolated mode: the child finds its libraries, and nothing of ours.
PROGRAM: Final = Path(__file__).with_name("poster_frame.py")
# Where the libraries are, on machines that have to say so. No secret is ever among these.
KEPT_ENVIRONMENT: Final = ("LD_LIBRARY_PATH",)
JPEG_HEAD: Final = b"\xff\xd8\xff"


@dataclass(frozen=True, kw_only=True, slots=True)
class PosterLimits:
    """What one thumbnail may cost. Measured: 0.15 s and 150 MB; 0.8 s and 206 MB at 4096x4096."""

    source_bytes: int = MAX_POSTER_SOURCE_BYTES
    memory_bytes: int = 1024**3  # of addresses; libraries alone take 127 MB of them
    cpu_s: int = 10
    wall_s: float = 30.0  # it is the least important process of the machine
    jpeg_bytes: int = 1024**2  # 640 x 1280 of noise have 640 kB


class FramePoster:
    """Implements ports.Poster."""

    def __init__(self, limits: PosterLimits | None = None) -> None:
        self._limits = limits or PosterLimits()

    async def make(self, video: AsyncIterator[bytes]) -> bytes:
        """As ports.Poster says. The folder is the process's own: nobody else may look in."""
        try:
            with TemporaryDirectory(prefix="fal-video-poster-") as folder:
                source, jpeg = Path(folder, "video.mp4"), Path(folder, "poster.jpg")
                async with aclosing(cast("AsyncGenerator[bytes]", video)) as chunks:
                    await self._save(chunks, source)
                await self._run(source, jpeg)
                return await asyncio.to_thread(_read, jpeg, self._limits.jpeg_bytes)
        except OSError as error:  # no room, or no process to be had
            raise Transient(f"no thumbnail could be made here: {error.strerror}") from error

    async def _save(self, chunks: AsyncIterator[bytes], path: Path) -> None:
        size = 0
        with await asyncio.to_thread(path.open, "wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._limits.source_bytes:
                    raise SourceTooLarge(f"over {self._limits.source_bytes} bytes")
                await asyncio.to_thread(file.write, chunk)

    async def _run(self, source: Path, jpeg: Path) -> None:
        """Let the child take the frame; whatever happens, it is gone afterwards."""
        limits = self._limits
        numbers = (limits.memory_bytes, limits.cpu_s, limits.jpeg_bytes)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(PROGRAM),
            str(source),
            str(jpeg),
            *map(str, numbers),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ},
            cwd=source.parent,
        )
        try:
            async with asyncio.timeout(limits.wall_s):
                code = await process.wait()
        except TimeoutError:
            raise Transient(f"the frame was not there after {limits.wall_s} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code < 0:
            raise Transient(f"the decoder was ended by signal {-code}")
        if code != 0:
            raise NotAVideo("no frame of it can be decoded")


def _read(path: Path, limit: int) -> bytes:
    """What the child wrote, which is believed as little as what it read."""
    with path.open("rb") as file:
        jpeg = file.read(limit + 1)
    if len(jpeg) > limit or not jpeg.startswith(JPEG_HEAD):
        raise NotAVideo("its frame is no JPEG")
    return jpeg
