import contextlib
import io
import struct
import warnings
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.adapters.image import ImageFacts, ImageLimits, check_image, inspect_image
from service.domain.errors import BadImage, TooLarge, UnsupportedMedia

LIMITS = ImageLimits(max_bytes=200_000, max_pixels=1_000_000, min_side_px=64)


def picture(
    kind: str, size: tuple[int, int] = (100, 80), mode: str = "RGB", **options: Any
) -> bytes:
    written = io.BytesIO()
    image = Image.effect_noise(size, 50).convert(mode)
    image.save(written, kind, **options)
    return written.getvalue()


def moving(kind: str) -> bytes:
    return picture(kind, save_all=True, append_images=[Image.new("RGB", (100, 80), "red")])


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize(
    ("kind", "content_type", "extension"),
    [
        ("PNG", "image/png", "png"),
        ("JPEG", "image/jpeg", "jpg"),
        ("MPO", "image/jpeg", "jpg"),
        ("WEBP", "image/webp", "webp"),
    ],
)
async def test_the_three_formats_are_known_by_their_contents(
    kind: str, content_type: str, extension: str
) -> None:
    options: dict[str, Any] = {}
    if kind == "MPO":
        options = {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}
    assert await inspect_image(picture(kind, **options), LIMITS) == ImageFacts(
        content_type=content_type, extension=extension, width=100, height=80
    )


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "I;16"])
def test_other_colour_modes_are_fine(mode: str) -> None:
    image = Image.new(mode, (64, 64))
    written = io.BytesIO()
    image.save(written, "PNG")
    assert check_image(written.getvalue(), LIMITS).width == 64


@pytest.mark.parametrize(
    "data",
    [
        picture("GIF"),
        picture("BMP"),
        picture("TIFF"),
        picture("ICO"),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"<html>",
        b"",
    ],
    ids=["gif", "bmp", "tiff", "ico", "svg", "eps", "html", "empty"],
)
def test_other_formats_are_of_a_type_we_do_not_take(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        check_image(data, LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_image_is_refused(kind: str, kept: float) -> None:
    data = picture(kind)
    with pytest.raises(BadImage, match="startImage"):
        check_image(data[: int(len(data) * kept)], LIMITS)


@pytest.mark.parametrize(
    "head",
    [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x00\x10\x00\x00WEBPVP8 "],
    ids=["png", "jpeg", "webp"],
)
def test_a_head_alone_is_no_image(head: bytes) -> None:
    with pytest.raises(BadImage):
        check_image(head + b"<html>" * 100, LIMITS)


@given(st.data())
def test_damage_raises_our_errors_only_and_no_warning(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, min(len(whole), 400) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(BadImage, UnsupportedMedia):
            check_image(bytes(whole), LIMITS)


WHOLE = [picture("PNG", (64, 64)), picture("JPEG", (64, 64)), picture("WEBP", (64, 64))]


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(TooLarge):
        check_image(bytes(LIMITS.max_bytes + 1), LIMITS)


@pytest.mark.parametrize(
    "size", [(2000, 2000), (20_000, 20_000), (60_000, 60_000)], ids=["ours", "warned", "error"]
)
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(BadImage, match="pixels; make it smaller"):
        check_image(png_that_claims(*size), LIMITS)


@pytest.mark.parametrize("size", [(63, 200), (200, 63), (1, 1)])
def test_an_icon_is_refused_and_told_what_would_do(size: tuple[int, int]) -> None:
    with pytest.raises(BadImage, match="at least 64") as refused:
        check_image(picture("PNG", size), LIMITS)
    assert refused.value.errors[0].field == "startImage"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    with pytest.raises(BadImage, match="still"):
        check_image(moving(kind), LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_second_file_behind_the_image_is_refused(kind: str) -> None:
    with pytest.raises(BadImage, match="followed by other data"):
        check_image(picture(kind) + b"PK\x03\x04" + bytes(50), LIMITS)
    with pytest.raises(BadImage, match="followed by other data"):
        check_image(picture(kind) + b"<script>" + picture(kind)[-20:], LIMITS)
