"""Multipart forms for the submit route, good and bad, and what must not have happened after."""

import io
import itertools
import json
import re
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from PIL import Image

from service.adapters.rows import account_record
from service.domain.seal import owner_prefix
from tests.world import SEAL_KEY, World, png

PATH = "/api/templates/video"
PROBLEM = "application/problem+json"
GOOD_ORDER = {"templateSlug": "night-life-roller", "variables": {"BRAND": "Acme"}}
_numbers = itertools.count(1)

Part = tuple[str, tuple[str | None, bytes, str]]


def fresh_email() -> str:
    return f"user{next(_numbers)}@web.example"


def image_part(data: bytes | None = None, kind: str = "image/png", name: str = "a.png") -> Part:
    return ("startImage", (name, png() if data is None else data, kind))


def order_part(text: Any = None, name: str = "data") -> Part:
    given = GOOD_ORDER if text is None else text
    raw = given if isinstance(given, bytes) else json.dumps(given).encode()
    return (name, (None, raw, "text/plain"))


def order(**changes: Any) -> dict[str, Any]:
    """The good order with fields changed; a value of ... leaves the field out."""
    return {name: value for name, value in (GOOD_ORDER | changes).items() if value is not ...}


def multipart(*parts: Part) -> tuple[bytes, dict[str, str]]:
    """A form's bytes, exactly of these parts in this order, and its content type."""
    body = b""
    for name, (filename, data, kind) in parts:
        file = "" if filename is None else f'; filename="{filename}"\r\nContent-Type: {kind}'
        head = f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + b"--B--\r\n", {"Content-Type": "multipart/form-data; boundary=B"}


async def send(world: World, email: str, body: Any, headers: dict[str, str]) -> httpx.Response:
    return await world.http.post(PATH, content=body, headers=world.headers(email) | headers)


def gif() -> bytes:
    out = io.BytesIO()
    Image.new("P", (64, 36)).save(out, "GIF")
    return out.getvalue()


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 36), "teal").save(out, "JPEG")
    return out.getvalue()


def claimed_png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes cannot hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


async def objects(world: World, email: str) -> set[str]:
    """Every key in the owner's folder of the bucket."""
    url = f"{world.sandbox.s3_url}/{world.sandbox.bucket}"
    prefix = owner_prefix(SEAL_KEY.encode(), email)
    answer = await world.http.get(url, params={"list-type": "2", "prefix": prefix})
    assert answer.status_code == 200, answer.text
    return set(re.findall(r"<Key>([^<]+)</Key>", answer.text))


async def jobs_of(world: World, email: str) -> list[str]:
    rows = await world.runtime.store.database.read(
        "SELECT VALUE record::id(id) FROM video_job WHERE account = $account",
        account=account_record(email),
    )
    return [str(each) for each in rows]


@asynccontextmanager
async def nothing_happens(world: World, email: str) -> AsyncIterator[None]:
    """Around a refusal: its credits stay, it has no job, no object, and fal hears nothing."""
    await world.quiet()
    balance = await world.runtime.store.balance(email)
    submits = (await world.counts())["submits"]
    yield
    await world.quiet()
    assert await world.runtime.store.balance(email) == balance
    assert await jobs_of(world, email) == []
    assert await objects(world, email) == set()
    assert (await world.counts())["submits"] == submits


def check_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is a problem of that status and code; its content."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"]) == (status, code)
    assert {"type", "title", "detail"} <= found.keys()
    return found
