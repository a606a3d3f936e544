"""Is this upload a still image that every video model takes? It is decoded to find out."""

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import Image

from service.domain.errors import BadImage, FieldError, TooLarge, UnsupportedMedia

FIELD: Final = "startImage"

# One at a time: a decoded image takes four bytes a pixel, and the warning filters that the
# decoding changes for a moment belong to the whole process.
_DECODER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode-image")

PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
PNG_END: Final = b"IEND"
RIFF_HEADER: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """What a start image may be."""

    # The models take 10 to 50 MB; a photo of a current phone has 3 to 8.
    max_bytes: int = 20 * 1024 * 1024
    # 200 MB once decoded. Phones make 12 to 48 million, the models scale all of it down.
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
    many or too few pixels, damaged, moving (models take one frame, and not all the same one), or
    followed by other data, which might be a second file for a second reader. A JPEG may be
    followed by data, as phones do put some there.
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
    except Image.DecompressionBombError as error:  # Pillow's own limit, over twice ours
        raise _too_many_pixels(limits) from error
    except Exception as error:  # decoders fed with garbage raise whatever they stumble over
        raise _bad("the image is damaged; open it and save it again") from error


def _known(data: bytes) -> bool:
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return webp or data.startswith((PNG_HEAD, b"\xff\xd8\xff"))


def _decode(data: bytes, limits: ImageLimits) -> ImageFacts:
    """The sizes are judged on the header alone: nothing is decoded that is over a limit."""
    with Image.open(BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as image:
        kind = str(image.format)
        if image.width * image.height > limits.max_pixels:
            raise _too_many_pixels(limits)
        if min(image.size) < limits.min_side_px:
            raise _bad(
                f"the image is {image.width} x {image.height} pixels; "
                f"use one of at least {limits.min_side_px} on each side"
            )
        if kind != "MPO" and getattr(image, "is_animated", False):
            raise _bad("the image moves; use a still one")
        if not _ends_with_itself(kind, data):
            raise _bad("the image is followed by other data; open it and save it again")
        image.load()
        content_type, extension = _KINDS[kind]
        return ImageFacts(
            content_type=content_type,
            extension=extension,
            width=image.width,
            height=image.height,
        )


def _ends_with_itself(kind: str, data: bytes) -> bool:
    match kind:
        case "PNG":
            return _png_end(data) == len(data)
        case "WEBP":
            # RIFF counts what follows its header, and pads it to an even length.
            size = int.from_bytes(data[4:8], "little")
            return len(data) in {RIFF_HEADER + size, RIFF_HEADER + size + size % 2}
        case _:
            return True


def _png_end(data: bytes) -> int | None:
    """Where the last chunk ends, or None if there is no last chunk."""
    at = len(PNG_HEAD)
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + size  # length, type and checksum
        if kind == PNG_END:
            return at
    return None


def _too_many_pixels(limits: ImageLimits) -> BadImage:
    return _bad(f"the image has over {limits.max_pixels:,} pixels; make it smaller")


def _bad(message: str) -> BadImage:
    return BadImage([FieldError(FIELD, message)])
