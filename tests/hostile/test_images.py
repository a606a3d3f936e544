"""Uploads made to hurt: what they may cost in time and memory, and what becomes of them."""

import asyncio
import json
import pickle
import sys
import time
from collections.abc import Callable

import httpx
import pytest

from service.adapters.image import ImageLimits, check_image
from service.adapters.image_layout import MAX_PARTS
from service.domain.errors import BadImage, ServiceError
from tests.hostile import pictures
from tests.hostile.pictures import SIDE, chunk, flat_rows, jpeg, riff, saved, scanned, segment
from tests.processes.running import ROOT
from tests.web.forms import check_problem, fresh_email, image_part, multipart, order_part, send
from tests.world import World

LIMITS = ImageLimits(max_bytes=10 * 1024 * 1024)
MANY = 800_000  # parts in ten megabytes; a decoder that looks at each takes over five seconds
MIB = 1024 * 1024

INTRICATE: dict[str, Callable[[], bytes]] = {
    "png text chunks": lambda: pictures.png(chunk(b"tEXt", b"") * MANY),
    "png unknown chunks": lambda: pictures.png(chunk(b"prVt", b"") * MANY),
    "png empty pixels": lambda: pictures.png(chunk(b"IDAT", b"") * MANY),
    "jpeg comments": lambda: jpeg(segment(0xFE) * MANY),
    "jpeg application data": lambda: jpeg(segment(0xEF) * MANY),
    "jpeg tables": lambda: jpeg(segment(0xDB) * MANY),
    "jpeg fill": lambda: jpeg(b"\xff" * 9 * MIB),
    "jpeg zeros after fill": lambda: jpeg(b"\xff\0" * 4 * MIB),
    "jpeg restarts": lambda: jpeg(b"\xff\xd0" * 4 * MIB),
    "jpeg beginnings": lambda: jpeg(b"\xff\xd8" * 4 * MIB),
    "jpeg scans of a large picture": lambda: scanned(400, (7000, 7000)),
    "jpeg scans of a small picture": lambda: scanned(MAX_PARTS, (SIDE, SIDE)),
}


EVERY_DAY = {"png text chunks", "jpeg fill", "jpeg scans of a large picture"}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=[] if name in EVERY_DAY else [pytest.mark.thorough])
        for name, make in INTRICATE.items()
    ],
)
def test_an_image_of_too_many_parts_is_refused_before_it_is_decoded(
    make: Callable[[], bytes],
) -> None:
    """F12: 200 KB of scans kept the one decoder busy for 18 s, 10 MB would for an hour."""
    data = make()
    assert len(data) <= LIMITS.max_bytes
    began = time.process_time()
    with pytest.raises(BadImage, match="too many parts"):
        check_image(data, LIMITS)
    assert time.process_time() - began < 2, "decoding takes five and more"


@pytest.mark.parametrize(
    "data",
    [
        saved("JPEG", (7000, 7000), progressive=True),
        saved("JPEG", (7000, 7000)),
        saved("JPEG", (200, 100), "CMYK"),
        saved("PNG", (200, 100), "I;16"),
        scanned(20, (1000, 1000)),
        jpeg(segment(0xE2, b"MPF\0" + bytes(5)) * 3, segment(0xE1, bytes(65_000)) * 60),
        pictures.png(chunk(b"tEXt", b"a\0b") * 1000),
        pictures.png(size=(4000, 64), depth=16, colours=6, rows=flat_rows(4000, 64, 8)),
        pictures.png(size=(65_535, 16), rows=flat_rows(65_535, 16, 3)),
    ],
    ids=[
        *("49 MP progressive", "49 MP baseline", "CMYK", "16 bit grey", "30 scans", "long EXIF"),
        *("1000 texts", "16 bit RGBA", "a strip"),
    ],
)
def test_odd_but_honest_images_pass(data: bytes) -> None:
    facts = check_image(data, LIMITS)
    assert min(facts.width, facts.height) >= 16


BAD: dict[str, Callable[[], bytes]] = {
    "65535 x 1": lambda: pictures.png(size=(65_535, 1), rows=flat_rows(65_535, 1, 3)),
    "a colour profile that unpacks to 200 MB": lambda: pictures.png(
        chunk(b"iCCP", b"x\0\0" + flat_rows(MIB, 200, 1))
    ),
    "texts that unpack to a gigabyte": lambda: pictures.png(
        chunk(b"zTXt", b"x\0\0" + flat_rows(MIB - 9, 1, 1)) * 1000
    ),
    "a PNG that is a zip archive": lambda: pictures.png(after=b"PK\3\4" + bytes(40)),
    "a WebP that is a page": lambda: saved("WEBP") + b"<html><script>alert(1)</script>",
    "a WebP that counts its page in": lambda: riff((b"VP8 ", b"<html>" + bytes(40))),
    "a GIF that is an archive": lambda: saved("GIF") + b"PK\3\4",
    "a JPEG of nothing": lambda: b"\xff\xd8\xff\xd9",
    "a JPEG of one scan and no frame": lambda: b"\xff\xd8" + segment(0xDA, bytes(6)) + bytes(900),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_a_trick_is_refused_by_name_and_costs_nothing(make: Callable[[], bytes]) -> None:
    """F12: one of our errors, at once."""
    began = time.process_time()
    with pytest.raises(ServiceError):
        check_image(make(), LIMITS)
    assert time.process_time() - began < 2


@pytest.mark.thorough
def test_more_pixels_than_its_header_says_are_not_unpacked() -> None:
    began = time.process_time()
    facts = check_image(pictures.png(rows=flat_rows(MIB, 300, 1)), LIMITS)
    assert (facts.width, facts.height) == (SIDE, SIDE)
    assert time.process_time() - began < 3, "to make them, most of it"


def large(kind: str) -> bytes:
    if kind == "PNG":
        rows = flat_rows(7000, 7000, 4)
        return pictures.png(size=(7000, 7000), colours=6, rows=rows)
    if kind == "WEBP":  # a quarter of the pixels is the most that one may have
        return saved(kind, (3500, 3500))
    return saved(kind, (7000, 7000), progressive=True)


# A decoded image, and what its decoder keeps beside it (a JPEG's coefficients, a WebP's canvas).
DECODED = 7000 * 7000 * 4


@pytest.mark.parametrize(
    ("kind", "copies"),
    [
        pytest.param("PNG", 2, marks=pytest.mark.thorough),
        pytest.param("JPEG", 4, marks=pytest.mark.thorough),
        pytest.param("WEBP", 2, marks=pytest.mark.thorough),
    ],
)
async def test_many_large_images_at_once_take_the_memory_of_one(kind: str, copies: int) -> None:
    """F12: they wait for one another; measured in a process of its own."""
    one, count = large(kind), 8
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hostile.decoding"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate(pickle.dumps([saved(kind), *[one] * count]))
    told = json.loads(out)
    sys.stdout.write(f"{count} x {kind}, {len(one)} bytes each: {told}\n")  # for -s
    assert told["bad"] == []
    assert told["grown"] < copies * DECODED


TAILS = {
    "page": b"<html><script>alert(document.domain)</script></html>",
    "archive": b"PK\3\4" + b"\0" * 40 + b"PK\5\6" + b"\0" * 18,
}


@pytest.mark.thorough
@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
@pytest.mark.parametrize("declared", ["image/svg+xml", "image/png; charset=utf-7", ""])
async def test_an_upload_is_stored_as_what_its_bytes_are_whatever_it_is_called(
    shared: World, declared: str, tail: bytes
) -> None:
    """No browser takes image/jpeg for a page, and no name of the sender's is used."""
    email = fresh_email()
    await shared.grant(100, email)
    part = image_part(jpeg() + tail, declared, name="../../x.html\\..\\y.svg")
    body, headers = multipart(part, order_part())
    answer = await send(shared, email, body, headers)
    assert answer.status_code == 202, answer.text
    await shared.until(answer.json()["jobId"], "completed", email=email)
    (request,) = [
        each for each in await shared.requests() if answer.json()["jobId"] in each["webhook_url"]
    ]
    stored = await shared.http.get(request["image_url"])
    assert stored.headers["content-type"] == "image/jpeg"
    assert httpx.URL(request["image_url"]).path.endswith(".jpg")
    assert ".." not in request["image_url"]


@pytest.mark.parametrize("declared", ["text/html", "application/pdf", "video/mp4"])
async def test_an_upload_that_says_it_is_no_image_is_refused(shared: World, declared: str) -> None:
    body, headers = multipart(image_part(jpeg(), declared), order_part())
    answer = await send(shared, fresh_email(), body, headers)
    check_problem(answer, 415, "unsupported_media_type")
