import gzip

import pytest

from service.adapters.video_source import HttpVideoSource
from service.domain.errors import (
    NotAVideo,
    ServiceError,
    SourceGone,
    SourceRefused,
    SourceTooLarge,
    Transient,
)
from tests.transfer.conftest import DOWNLOADS
from tests.transfer.samples import FTYP, MIB, box, breaking, in_turn, mp4, status, whole
from tests.transfer.servers import Exchange, FaultCdn

BODY = mp4(2 * MIB)


async def download(source: HttpVideoSource, url: str) -> bytes:
    async with source.fetch(url) as download:
        return b"".join([chunk async for chunk in download.chunks()])


async def test_a_file_arrives_as_it_is(source: HttpVideoSource, cdn: FaultCdn) -> None:
    async with source.fetch(cdn.url(whole(BODY))) as download:
        assert download.size == len(BODY)
        assert b"".join([chunk async for chunk in download.chunks()]) == BODY
    assert cdn.requests[-1].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        *((code, SourceGone) for code in (400, 401, 403, 404, 410, 416, 451)),
        *((code, Transient) for code in (204, 206, 304, 408, 425, 429, 500, 502, 503, 504)),
    ],
)
async def test_a_status_says_whether_to_ask_again(
    source: HttpVideoSource, cdn: FaultCdn, code: int, meaning: type[ServiceError]
) -> None:
    with pytest.raises(meaning):
        await download(source, cdn.url(status(code)))


async def test_a_redirect_is_followed_and_its_target_checked(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    target = cdn.url(whole(BODY))
    assert await download(source, cdn.url(status(302, Location=target))) == BODY
    relative = target.removeprefix(f"http://127.0.0.1:{cdn.port}")
    assert await download(source, cdn.url(status(307, Location=relative))) == BODY


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest",
        "https://evil.com/x.mp4",
        "file:///etc/passwd",
        "//10.0.0.1/",
        "/" + 65_530 * "x",
        "https://user:pw@fal.media/",
    ],
)
async def test_a_redirect_to_elsewhere_is_refused(
    source: HttpVideoSource, cdn: FaultCdn, target: str
) -> None:
    """F53: each hop is checked."""
    with pytest.raises(SourceRefused):
        await download(source, cdn.url(status(302, Location=target)))


async def test_a_redirect_that_cannot_be_read_is_transient(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    with pytest.raises(Transient):
        await download(source, cdn.url(status(302, Location="http://[::1")))


async def test_a_redirect_loop_ends(source: HttpVideoSource, cdn: FaultCdn) -> None:
    asked = len(cdn.requests)
    with pytest.raises(SourceRefused):
        await download(source, cdn.url(status(302, Location="?again")))
    assert len(cdn.requests) - asked == DOWNLOADS.max_redirects + 1


async def test_a_file_announced_over_the_limit_is_refused_before_it_is_read(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    """F52: refused before a byte of it is read."""

    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": DOWNLOADS.max_bytes + 1})
        await exchange.hang()

    with pytest.raises(SourceTooLarge):
        await download(source, cdn.url(handle))


async def test_an_endless_body_ends_at_the_limit(source: HttpVideoSource, cdn: FaultCdn) -> None:
    """F52: no more than the limit is ever read."""

    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {}, version="1.0")
        await exchange.send(FTYP + (2**31).to_bytes(4, "big") + b"mdat")
        while True:
            await exchange.send(bytes(MIB))

    received = 0

    async def count() -> None:
        nonlocal received
        async with source.fetch(cdn.url(handle)) as download:
            async for chunk in download.chunks():
                received += len(chunk)

    with pytest.raises(SourceTooLarge):
        await count()
    assert received <= DOWNLOADS.max_bytes


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>expired</html>", b'{"detail":"gone"}', FTYP[:10], bytes(100)],
    ids=["empty", "html", "json", "ten bytes", "zeros"],
)
@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
async def test_what_is_no_video_is_refused_before_the_download_is_handed_out(
    source: HttpVideoSource, cdn: FaultCdn, body: bytes, *, length: bool
) -> None:
    """F51: whatever its type says; the head is sniffed before anything is stored."""
    with pytest.raises(NotAVideo):
        async with source.fetch(cdn.url(whole(body, length=length))):
            pytest.fail("handed out")


async def test_a_body_encoded_against_our_wish_is_refused(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Encoding": "gzip"})
        await exchange.send(gzip.compress(BODY))

    with pytest.raises(NotAVideo):
        await download(source, cdn.url(handle))


async def test_a_head_that_comes_byte_by_byte_is_recognised(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": len(BODY)})
        for at in range(20):
            await exchange.send(BODY[at : at + 1])
        await exchange.send(BODY[20:])

    assert await download(source, cdn.url(handle)) == BODY


async def test_a_body_cut_at_nine_tenths_is_transient(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    """F50: cut at 90 %, without an ETag to resume by."""
    cut = breaking(BODY, every=len(BODY) * 9 // 10, etag='W/"weak"')
    with pytest.raises(Transient):
        await download(source, cdn.url(cut))


async def test_a_cut_body_without_a_length_is_no_video(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    with pytest.raises(NotAVideo):
        await download(source, cdn.url(whole(BODY[: MIB + 5], length=False)))


async def test_a_file_open_at_its_end_needs_an_answer_that_is_not(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    body = FTYP + box(b"moov", b"") + b"\0\0\0\0mdat" + bytes(1000)
    assert await download(source, cdn.url(whole(body))) == body
    with pytest.raises(NotAVideo):
        await download(source, cdn.url(whole(body, length=False)))


async def test_a_chunked_body_has_no_size_but_an_end(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    def handler(end: bytes) -> object:
        async def handle(exchange: Exchange) -> None:
            exchange.head(200, {"Transfer-Encoding": "chunked"})
            await exchange.send(f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n" + end)

        return handle

    async with source.fetch(cdn.url(handler(b"0\r\n\r\n"))) as opened:  # type: ignore[arg-type]
        assert opened.size is None
        assert b"".join([chunk async for chunk in opened.chunks()]) == BODY
    with pytest.raises(Transient):
        await download(source, cdn.url(handler(b"")))  # type: ignore[arg-type]


@pytest.fixture(params=["source", "layered_source"], ids=["directly", "through the layers"])
def either_source(request: pytest.FixtureRequest) -> HttpVideoSource:
    chosen: HttpVideoSource = request.getfixturevalue(request.param)
    return chosen


async def test_a_connection_that_breaks_is_resumed_where_it_broke(
    either_source: HttpVideoSource, cdn: FaultCdn
) -> None:
    """F50: by Range, and only of the same file."""
    source = either_source
    async with source.fetch(cdn.url(breaking(BODY, every=len(BODY) * 3 // 10))) as opened:
        assert b"".join([chunk async for chunk in opened.chunks()]) == BODY
        assert opened.reconnects == 3
    assert cdn.requests[-1].headers["if-range"] == '"v1"'
    assert cdn.requests[-1].start > MIB


@pytest.mark.parametrize("sent", [MIB // 2, len(BODY) - 1])
async def test_a_body_that_ends_before_its_length_is_transient(
    either_source: HttpVideoSource, cdn: FaultCdn, sent: int
) -> None:
    """F50: by a clean end of the connection, wherever that comes."""
    with pytest.raises(Transient, match="cannot be resumed"):
        await download(either_source, cdn.url(breaking(BODY, every=sent, etag="none")))


async def test_what_follows_a_body_is_not_of_it(
    either_source: HttpVideoSource, cdn: FaultCdn
) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": len(BODY)})
        await exchange.send(BODY + bytes(100_000))

    assert await download(either_source, cdn.url(handle)) == BODY


async def test_reconnects_are_bounded(source: HttpVideoSource, cdn: FaultCdn) -> None:
    asked = len(cdn.requests)
    with pytest.raises(Transient):
        await download(source, cdn.url(breaking(BODY, every=1000)))
    assert len(cdn.requests) - asked == DOWNLOADS.max_reconnects + 1


async def test_a_file_that_changed_in_between_is_not_stitched_together(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    url = cdn.url(in_turn(breaking(BODY, every=MIB), whole(mp4(2 * MIB), etag='"v2"')))
    with pytest.raises(Transient, match="changed"):
        await download(source, url)


async def test_a_resume_at_another_place_is_not_stitched_together(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    async def astray(exchange: Exchange) -> None:
        exchange.head(206, {"Content-Range": f"bytes 0-9/{len(BODY)}", "Content-Length": 10})
        await exchange.send(BODY[:10])

    with pytest.raises(Transient, match="another place"):
        await download(source, cdn.url(in_turn(breaking(BODY, every=MIB), astray)))


async def test_a_file_that_expires_while_it_is_read_is_gone(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    """F48: 403 in the middle means that it is gone, not that we try for ever."""
    with pytest.raises(SourceGone):
        await download(source, cdn.url(in_turn(breaking(BODY, every=MIB), status(403))))


async def test_a_reset_before_any_byte_is_tried_again(
    source: HttpVideoSource, cdn: FaultCdn
) -> None:
    """F49: a reset, twice, then the file."""

    async def reset(exchange: Exchange) -> None:
        exchange.reset()

    assert await download(source, cdn.url(in_turn(reset, reset, whole(BODY)))) == BODY
    with pytest.raises(Transient):
        await download(source, cdn.url(reset))


async def test_an_unreachable_source_is_transient(source: HttpVideoSource) -> None:
    with pytest.raises(Transient):
        await download(source, "http://127.0.0.1:1/x.mp4")


@pytest.mark.parametrize("sent", [0, MIB], ids=["no answer", "stall"])
async def test_silence_ends_in_time(
    impatient_source: HttpVideoSource, cdn: FaultCdn, sent: int
) -> None:
    """F49: a sender that stalls."""

    async def handle(exchange: Exchange) -> None:
        if sent:
            exchange.head(200, {"Content-Length": len(BODY)})
            await exchange.send(BODY[:sent])
        await exchange.hang()

    with pytest.raises(Transient):
        await download(impatient_source, cdn.url(handle))


async def test_a_sender_that_trickles_is_given_up(
    hasty_source: HttpVideoSource, cdn: FaultCdn
) -> None:
    """F49: a slow-loris is cut off by the least rate."""

    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": len(BODY), "ETag": '"v1"'})
        for at in range(0, len(BODY), 100):
            await exchange.send(BODY[at : at + 100])
            await exchange.pause(0.01)

    with pytest.raises(Transient, match="bytes/s"):
        await download(hasty_source, cdn.url(handle))
