"""Connections are not for keeping: what a client begins it must end in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.sandbox.object_store import ObjectStore
from service.web import serving
from service.web.limits import MAX_HEAD_BYTES
from tests.world import World, open_world

HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
BOUND_S = 20.0  # far over the limit that is set here, far under the one in production


@pytest.fixture
async def hasty(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(serving, "HEAD_S", 0.5)
    async with open_world(s3) as opened:
        yield opened


@asynccontextmanager
async def connection(
    world: World,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.settings.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def dribbled_until_closed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes
) -> bytes:
    """Send `piece` again and again until the server has closed; what it said meanwhile."""
    said = asyncio.create_task(reader.read())
    async with asyncio.timeout(BOUND_S):
        while not said.done():
            writer.write(piece)
            await asyncio.wait({said}, timeout=0.1)
    try:
        return said.result()
    except ConnectionError:  # closed while our next piece was on its way
        return b""


@pytest.mark.parametrize("sent", [b"", b"GET / HT", HEAD], ids=["nothing", "a line", "headers"])
async def test_a_head_that_is_never_ended_is_waited_for_only_so_long(
    hasty: World, sent: bytes
) -> None:
    async with connection(hasty) as (reader, writer), asyncio.timeout(BOUND_S):
        writer.write(sent)
        assert await reader.read() == b""


async def test_dribbling_wins_no_time(hasty: World) -> None:
    async with connection(hasty) as (reader, writer):
        writer.write(HEAD)
        assert await dribbled_until_closed(reader, writer, b"X") == b""


async def test_a_second_head_on_a_connection_has_no_more_time(hasty: World) -> None:
    async with connection(hasty) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert b"ok" in await reader.readuntil(b"}")
        writer.write(HEAD)
        assert await dribbled_until_closed(reader, writer, b"X") == b""


async def test_empty_lines_before_a_head_win_no_time(hasty: World) -> None:
    async with connection(hasty) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        assert b"ok" in await reader.readuntil(b"}")
        assert await dribbled_until_closed(reader, writer, b"\r\n") == b""


async def test_answers_are_not_to_be_collected_without_end(hasty: World) -> None:
    async with connection(hasty) as (reader, writer), asyncio.timeout(BOUND_S):
        writer.write((HEAD + b"\r\n") * 1_000)
        said = await reader.read()
    assert said.count(b"200 OK") <= serving.MAX_AHEAD + 1
    assert b"400 Bad Request" in said


async def test_a_body_that_goes_on_after_its_answer_is_cut_off(hasty: World) -> None:
    async with connection(hasty) as (reader, writer):
        writer.write(HEAD + b"Content-Length: 1000000\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await dribbled_until_closed(reader, writer, b"x")


async def test_a_connection_that_rests_between_requests_may_rest(hasty: World) -> None:
    async with connection(hasty) as (reader, writer):
        for _ in range(3):
            writer.write(HEAD + b"\r\n")
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert b"ok" in await reader.readuntil(b"}")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), timeout=1.0)  # over HEAD_S


async def test_headers_are_bounded(hasty: World) -> None:
    async with connection(hasty) as (reader, writer), asyncio.timeout(BOUND_S):
        writer.write(HEAD + b"X-Long: " + b"y" * (2 * MAX_HEAD_BYTES))
        assert (await reader.read()).startswith(b"HTTP/1.1 431")


async def test_an_upgrade_is_not_offered(hasty: World) -> None:
    async with connection(hasty) as (reader, writer), asyncio.timeout(BOUND_S):
        writer.write(
            HEAD
            + b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n"
            + b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
