"""Renders a start image into a video: H.264 in MP4, with a slow zoom towards the middle."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import PIL.Image
import PIL.ImageOps

from service.sandbox.extras import load

# At the end of the clip this part of the picture's width and height is left in view.
LAST_VIEW: Final = 0.75
SMALLEST_SIDE: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipShape:
    """`box` is the largest landscape frame; a portrait picture gets it turned upright."""

    seconds: int
    fps: int
    box: tuple[int, int]


def render(image: bytes, shape: ClipShape) -> bytes | None:
    """The MP4's bytes, its index before its media; None when the image cannot be read.

    Blocks for as long as the encoding takes. Raises MissingExtraError without PyAV.
    """
    picture = _picture(image, shape.box)
    return None if picture is None else _encoded(picture, shape)


def _picture(image: bytes, box: tuple[int, int]) -> PIL.Image.Image | None:
    """The image upright, in RGB, at frame size."""
    try:
        with PIL.Image.open(BytesIO(image)) as opened:
            upright = PIL.ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return None
    return upright.resize(_frame_size(upright.size, box), PIL.Image.Resampling.LANCZOS)


def _frame_size(picture: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the picture's proportions in the box; yuv420p wants even sides."""
    width, height = picture
    room = box if width >= height else (box[1], box[0])
    scale = min(room[0] / width, room[1] / height)
    return _even(width * scale), _even(height * scale)


def _even(side: float) -> int:
    return max(SMALLEST_SIDE, round(side / 2) * 2)


def _encoded(picture: PIL.Image.Image, shape: ClipShape) -> bytes:
    av = load("av")
    frames = shape.seconds * shape.fps
    # A file, because moving the index to the front reads back what was written.
    with TemporaryDirectory(prefix="sandbox-clip-") as folder:
        path = Path(folder) / "out.mp4"
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as out:
            stream = out.add_stream(
                "libx264", rate=shape.fps, options={"preset": "ultrafast", "crf": "26"}
            )
            stream.width, stream.height = picture.size
            stream.pix_fmt = "yuv420p"
            # One thread each: several clips may be in the making on few cores.
            stream.codec_context.thread_count = 1
            for number in range(frames):
                frame = av.VideoFrame.from_image(_zoomed(picture, number / max(1, frames - 1)))
                frame.pts = number
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return path.read_bytes()


def _zoomed(picture: PIL.Image.Image, progress: float) -> PIL.Image.Image:
    """The view at `progress` from 0 to 1; sub-pixel steps keep the motion smooth."""
    view = 1 - (1 - LAST_VIEW) * progress
    width, height = picture.size
    left, top = width * (1 - view) / 2, height * (1 - view) / 2
    return picture.resize(
        picture.size,
        PIL.Image.Resampling.BILINEAR,
        box=(left, top, width - left, height - top),
    )
