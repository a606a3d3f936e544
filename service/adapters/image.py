"""Is this upload a still image that every video model takes? It is decoded to find out."""

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import Image

from service.adapters.image_layout import (
    MAX_SCANNED_PIXELS,
    PNG_HEAD,
    TooIntricate,
    jpeg_scans,
    png_end,
)
from service.domain.errors import BadImage, FieldError, TooLarge, UnsupportedMedia

FIELD: Final = "startImage"

# One at a time: a decoded image takes four bytes a pixel, and the warning filters that the
# decoding changes for a moment belong to the whole process.
_DECODER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode-image")

JPEG_HEAD: Final = b"\xff\xd8\xff"
RIFF_HEADER: Final = 8
# Decoding a WebP takes up to 15 bytes a pixel, four times what a PNG takes.
WEBP_SHARE: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """What a start image may be."""

    # The models take 10 to 50 MB; a photo of a current phone has 3 to 8.
    max_bytes: int = 20 * 1024 * 1024
    # Up to 330 MB while one is decoded. Phones make 12 to 48 million, the models scale all of it
    # down.
    max_pixels: int = 50_000_000
    # Smaller shows nothing. A model may ask for more: Kling 3 wants 300.
    min_side_px: int = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """What the image is, by its contents and not by what it was called."""

    content_type: str
    extension: str
    width: int
    height: int


# A phone's JPEG with a depth map or a second view in its tail decodes as MPO; its head is a JPEG.
_KINDS: Final = {
    "PNG": ("image/png", "png"),
    "JPEG": ("image/jpeg", "jpg"),
    "MPO": ("image/jpeg", "jpg"),
    "WEBP": ("image/webp", "webp"),
}


async def inspect_image(data: bytes, limits: ImageLimits) -> ImageFacts:
    """`check_image` off the event loop; images wait for one another."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_DECODER, check_image, data, limits)


def check_image(data: bytes, limits: ImageLimits) -> ImageFacts:
    """The facts of a PNG, JPEG or WebP that decodes to its last pixel.

    Raises TooLarge (bytes), UnsupportedMedia (another type, by its first bytes), or BadImage: too
    many or too few pixels, damaged, moving (models take one frame, and not all the same one), made
    of so many parts that only an attacker gains by it, or followed by other data, which might be a
    second file for a second reader. A JPEG may be followed by data, as phones do put some there.
    """
    if len(data) > limits.max_bytes:
        raise TooLarge(f"the image has {len(data)} bytes; {limits.max_bytes} are allowed")
    if not _known(data):
        raise UnsupportedMedia("the image is none of PNG, JPEG and WebP")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on corrupt metadata, which we do not use
            return _decode(data, limits)
    except BadImage:
        raise
    except TooIntricate as error:
        raise _too_intricate() from error
    except Image.DecompressionBombError as error:  # Pillow's own limit, over twice ours
        raise _too_many_pixels(limits.max_pixels) from error
    except Exception as error:  # decoders fed with garbage raise whatever they stumble over
        raise _bad("the image is damaged; open it and save it again") from error


def _known(data: bytes) -> bool:
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return webp or data.startswith((PNG_HEAD, JPEG_HEAD))


def _decode(data: bytes, limits: ImageLimits) -> ImageFacts:
    """Sizes and parts are judged before: nothing is decoded that is over a limit."""
    scans = jpeg_scans(data) if data.startswith(JPEG_HEAD) else 0
    ends = _ends_with_itself(data)
    with Image.open(BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as image:
        kind = str(image.format)
        max_pixels = limits.max_pixels // (WEBP_SHARE if kind == "WEBP" else 1)
        if image.width * image.height > max_pixels:
            raise _too_many_pixels(max_pixels)
        if image.width * image.height * scans > MAX_SCANNED_PIXELS:
            raise _too_intricate()
        if min(image.size) < limits.min_side_px:
            raise _bad(
                f"the image is {image.width} x {image.height} pixels; "
                f"use one of at least {limits.min_side_px} on each side"
            )
        if kind != "MPO" and getattr(image, "is_animated", False):
            raise _bad("the image moves; use a still one")
        if not ends:
            raise _bad("the image is followed by other data; open it and save it again")
        image.load()
        content_type, extension = _KINDS[kind]
        return ImageFacts(
            content_type=content_type,
            extension=extension,
            width=image.width,
            height=image.height,
        )


def _ends_with_itself(data: bytes) -> bool:
    if data.startswith(PNG_HEAD):
        return png_end(data) == len(data)
    if data.startswith(JPEG_HEAD):
        return True
    # RIFF counts what follows its header, and pads it to an even length.
    size = int.from_bytes(data[4:8], "little")
    return len(data) in {RIFF_HEADER + size, RIFF_HEADER + size + size % 2}


def _too_intricate() -> BadImage:
    return _bad("the image is made of too many parts; open it and save it again")


def _too_many_pixels(max_pixels: int) -> BadImage:
    return _bad(f"the image has over {max_pixels:,} pixels; make it smaller")


def _bad(message: str) -> BadImage:
    return BadImage([FieldError(FIELD, message)])
