"""A program of its own: `python -I poster_frame.py VIDEO JPEG MEMORY_BYTES CPU_S FILE_BYTES`.

Decoders are large and written in C, and what they are fed comes from outside. So the frame is
taken in a process that has no secrets, little memory and little time, and may die of it. It knows
nothing of the service. Exit code 1: this is not a video that a frame can be taken of.
"""

import os
import resource
import sys
from pathlib import Path
from typing import Final

import av

WIDEST: Final = 640
HIGHEST: Final = 1280
QUALITY: Final = 80
# 4096 x 4096, more than any model makes; 206 MB of addresses to decode, measured.
MAX_PIXELS: Final = 16 * 1024 * 1024
# What the providers deliver, and what they may come to; no decoder that nobody looks after.
CODECS: Final = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d"})
NICENESS: Final = 10  # whoever waits for an answer goes first


def main(arguments: list[str]) -> int:
    video, jpeg, memory, cpu_s, file = arguments
    confine(memory=int(memory), cpu_s=int(cpu_s), file=int(file))
    try:
        save_first_frame(Path(video), Path(jpeg))
    except Exception:  # noqa: BLE001 - decoders fed with garbage raise whatever they stumble over
        return 1
    return 0


def confine(*, memory: int, cpu_s: int, file: int) -> None:
    """Give up, for good, what decoding one frame does not need."""
    os.nice(NICENESS)
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def save_first_frame(video: Path, jpeg: Path) -> None:
    """Write the first frame, scaled down, as a JPEG. Raises ValueError, and what PyAV raises.

    The format is given and no protocol but a file's is allowed: an MP4's contents cannot make the
    demuxer take it for a playlist, or open anything else.
    """
    with av.open(
        f"file:{video}", format="mp4", options={"protocol_whitelist": "file"}
    ) as container:
        stream = next(iter(container.streams.video), None)
        if stream is None or stream.codec_context.name not in CODECS:
            raise ValueError("no picture of a known kind")
        _check_size(stream.width, stream.height)
        stream.thread_type = "NONE"  # each thread would take a share of the memory
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        frame = next(iter(container.decode(stream)), None)
    if frame is None:
        raise ValueError("no picture")
    _check_size(frame.width, frame.height)
    width, height = _scaled(frame.width, frame.height)
    picture = frame.to_image(width=width, height=height)  # type: ignore[no-untyped-call]
    picture.save(jpeg, "JPEG", quality=QUALITY)


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels")


def _scaled(width: int, height: int) -> tuple[int, int]:
    """Within the box, in the picture's proportions, and never larger than it is."""
    scale = min(1.0, WIDEST / width, HIGHEST / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
