"""Clients that send too slowly, too much, or what is no HTTP: closed in time, served nothing."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from service.web import bodies, serving
from tests.web.deliveries import inbox, webhook_path
from tests.world import World

SOON_S = 20.0
HOOK = webhook_path("v-client").encode()
HOST = b"Host: 127.0.0.1\r\n"
POST = b"POST " + HOOK + b" HTTP/1.1\r\n" + HOST
GET = b"GET /health/live HTTP/1.1\r\n" + HOST
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@contextlib.asynccontextmanager
async def line_to(
    world: World,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url: httpx.URL = world.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes, which it has to."""
    got = b""
    async with asyncio.timeout(SOON_S):
        with contextlib.suppress(ConnectionError):
            while more := await reader.read(65_536):
                got += more
    return got


async def answers(world: World, sent: bytes, *, ends: bool = True) -> list[int]:
    """The statuses of all answers to these bytes, and then to the end of sending."""
    async with line_to(world) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
            if ends:
                writer.write_eof()
        return [int(each) for each in STATUS.findall(await until_closed(reader))]


async def lives(world: World) -> None:
    assert (await world.http.get("/health/live")).status_code == 200


SMUGGLED = GET + b"\r\n"
REFUSED = {
    # Three times what is read at once, and no end in it.
    "a header of a megabyte": GET + b"X-A: " + b"a" * 1_000_000,
    "headers of a megabyte": GET + b"X-A: b\r\n" * 130_000,
    "a path of a megabyte": b"GET /" + b"a" * 1_000_000,
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: other.example\r\n\r\n",
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "HTTP/2 without notice": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/11": b"GET /health/live HTTP/11\r\n" + HOST + b"\r\n",
    "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(200),
    "zeros": bytes(1000),
    "a name without a value": GET + b"X-A\r\n\r\n",
    "a blank before the colon": GET + b"X-A : b\r\n\r\n",
    "a folded first line": GET[: -len(HOST)] + b" folded\r\n" + HOST + b"\r\n",
    "a control character": GET + b"X-A: a\0b\r\n\r\n",
    "a length that is no number": POST + b"Content-Length: abc\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "a length in hex": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "a length of 5000 digits": POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "two lengths in one": POST + b"Content-Length: 5, 6\r\n\r\nhello",
    "another transfer": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "two transfers": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "a transfer in disguise": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, then not": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
async def test_what_is_no_request_is_refused_and_the_connection_closed(
    shared: World, sent: bytes
) -> None:
    """Nothing that follows it is read as another request."""
    assert set(await answers(shared, sent + SMUGGLED)) <= {400, 404, 431, 501}
    await lives(shared)


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "a size that is no number": CHUNKED + b"zz\r\n",
    "a negative size": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a size beyond numbers": CHUNKED + b"F" * 40 + b"\r\nhello",
    "an extension of 100 KB": CHUNKED + b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than said": CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    "trailers of 100 KB": CHUNKED + b"0\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "a length that is too long": POST + b"Content-Length: 100\r\n\r\nshort",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
async def test_a_body_that_breaks_off_or_breaks_the_rules_is_never_taken(
    shared: World, sent: bytes
) -> None:
    """F25: no answer but a refusal, and no row."""
    assert set(await answers(shared, sent)) <= {400, 401, 413, 431}
    assert await inbox(shared, "v-client") == []
    await lives(shared)


AMBIGUOUS = {
    "a length and chunks": POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n",
    "chunks behind a fold": POST + b"Content-Length: %d\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
    "chunks in capitals": POST + b"Content-Length: %d\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n",
}


@pytest.mark.parametrize("head", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_body_with_two_ends_hides_no_request_that_is_signed_in(
    shared: World, head: bytes
) -> None:
    """Whichever end is taken, what a proxy took for the body has no sign-in of its sender's."""
    hidden = b"GET /api/credits HTTP/1.1\r\n" + HOST + b"\r\n"
    body = b"0\r\n\r\n" + hidden
    told = await answers(shared, head % len(body) + body)
    assert told[0] in {400, 401}
    assert set(told[1:]) <= {400, 401}
    assert await inbox(shared, "v-client") == []
    await lives(shared)


ODD_REQUESTS = {
    "absolute form": b"GET http://evil.example/api/credits HTTP/1.1\r\n" + HOST,
    "absolute form of ours": b"GET http://127.0.0.1/frontend/../settings.py HTTP/1.1\r\n" + HOST,
    "authority form": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n" + HOST,
    "asterisk form": b"OPTIONS * HTTP/1.1\r\n" + HOST,
    "a trace": b"TRACE /api/credits HTTP/1.1\r\n" + HOST,
    "an unknown method": b"SPY /api/credits HTTP/1.1\r\n" + HOST,
    "another method in a header": b"GET /api/credits HTTP/1.1\r\nX-HTTP-Method: DELETE\r\n" + HOST,
    "a web socket": b"GET /api/templates/video/events?jobId=v1 HTTP/1.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n" + HOST,
    "HTTP/2 by upgrade": b"GET /api/credits HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade,"
    b" HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + HOST,
    **{
        f"the path {path}": b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST
        for path in (
            "/frontend/..%2fsettings.py",
            "/frontend/%2e%2e/settings.py",
            "/frontend/%2e%2e%2f%2e%2e%2fpyproject.toml",
            "/frontend/..%5csettings.py",
            "/frontend/....//settings.py",
            "/frontend//etc/passwd",
            "/frontend/%2fetc%2fpasswd",
            "/frontend/index.html%00.py",
            "/frontend/%00",
            "/frontend/%ff%fe",
            "/frontend/%252e%252e/settings.py",
            "/frontend/" + "a/" * 2000,
            "/..%2fapi/credits",
            "/api/credits%00",
            "/api//credits",
            "//api/credits",
            "/API/CREDITS",
            "/api/credits;x=1",
            "/api/library/..%2f..%2fcredits",
        )
    },
}


@pytest.mark.parametrize("sent", ODD_REQUESTS.values(), ids=[k[:40] for k in ODD_REQUESTS])
async def test_an_odd_request_is_served_nothing(shared: World, sent: bytes) -> None:
    """Neither a file beside the page's nor a switch of protocols, nor anybody's data."""
    (status,) = await answers(shared, sent + b"Connection: close\r\n\r\n", ends=False)
    assert status in {400, 401, 404, 405}
    await lives(shared)


async def test_old_http_is_served_and_the_connection_closed(shared: World) -> None:
    assert await answers(shared, b"GET /health/live HTTP/1.0\r\n\r\n" + SMUGGLED) == [200]


@pytest.mark.thorough
async def test_pipelined_requests_are_answered_in_order_and_all(shared: World) -> None:
    missing = GET.replace(b"/health/live", b"/nothing") + b"\r\n"
    assert await answers(shared, (SMUGGLED + missing) * 100) == [200, 404] * 100


# --------------------------------------------------------------------------------- too slow


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_S", 0.5)
    monkeypatch.setattr(bodies, "WEBHOOK_BODY_S", 0.5)
    monkeypatch.setattr(bodies, "FORM_BODY_S", 0.5)


async def dribbled(world: World, begun: bytes, drop: bytes) -> list[int]:
    """Send a beginning, then a few bytes again and again until the server has had enough."""
    async with line_to(world) as (reader, writer):
        writer.write(begun)

        async def dribble() -> None:
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(drop)
                    await writer.drain()
                    await asyncio.sleep(0.05)  # slowness is the fault here

        dribbling = asyncio.create_task(dribble())
        try:
            return [int(each) for each in STATUS.findall(await until_closed(reader))]
        finally:
            dribbling.cancel()


EVERY_DAY = {"nothing", "a header, byte by byte", "a delivery's body"}
SLOW = {
    "nothing": (b"", b""),
    "half a first line": (b"GET /health", b""),
    "headers, never ended": (GET, b"X-A: b\r\n"),
    "a header, byte by byte": (GET + b"X-A: ", b"b"),
    "a delivery's body": (POST + b"Content-Length: 1000\r\n\r\n{", b" "),
    "a delivery's chunks": (CHUNKED, b"1\r\n \r\n"),
    "a rest after the answer": (
        b"POST /nothing HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n",
        b"x",
    ),
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("begun", "drop"),
    [
        pytest.param(*sent, id=name, marks=[] if name in EVERY_DAY else [pytest.mark.thorough])
        for name, sent in SLOW.items()
    ],
)
async def test_who_dribbles_is_let_go_in_time(shared: World, begun: bytes, drop: bytes) -> None:
    """Each few bytes more buy no more time."""
    began = time.monotonic()
    assert set(await dribbled(shared, begun, drop)) <= {400, 401, 404, 408}
    assert time.monotonic() - began < SOON_S
    await lives(shared)


@pytest.mark.thorough
@pytest.mark.usefixtures("hasty")
async def test_an_orders_form_that_dribbles_is_408(shared: World) -> None:
    bearer = shared.headers()["Authorization"].encode()
    head = (
        b"POST /api/templates/video HTTP/1.1\r\nAuthorization: "
        + bearer
        + b"\r\n"
        + HOST
        + b"Content-"
        b"Type: multipart/form-data; boundary=B\r\nContent-Length: 100000\r\n\r\n--B\r\n"
    )
    assert await dribbled(shared, head, b"x") == [408]


@pytest.mark.thorough
@pytest.mark.usefixtures("hasty")
async def test_hundreds_of_idle_connections_stand_in_nobodys_way_and_end(shared: World) -> None:
    """Half of them silent from the start, half in the middle of their headers."""
    async with contextlib.AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(line_to(shared)) for _ in range(300)]
        for _, writer in lines[::2]:
            writer.write(GET)
        await lives(shared)
        ends = await asyncio.gather(*(until_closed(reader) for reader, _ in lines))
    assert {*STATUS.findall(b"".join(ends))} <= {b"408", b"400"}
    await lives(shared)
