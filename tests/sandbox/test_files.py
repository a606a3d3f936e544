"""The CDN: ranges, and each way in which a file is not what it should be."""

import asyncio
import hashlib
from typing import Any

import httpx
import pytest

from tests.sandbox.fal_user import FalUser
from tests.sandbox.receiver import TIMEOUT_S

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def fetched(url: str, **headers: str) -> httpx.Response:
    """GET as anybody: with neither the key nor redirects."""
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S, verify=False) as anybody:
        return await anybody.get(url, headers={k.replace("_", "-"): v for k, v in headers.items()})


async def started(url: str, at_least: int) -> tuple[httpx.Headers, bytes]:
    """The headers and the first bytes of a file that may never end."""
    received = b""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S, verify=False) as anybody,
        anybody.stream("GET", url) as answer,
    ):
        async for chunk in answer.aiter_bytes():
            received += chunk
            if len(received) >= at_least:
                break
    return answer.headers, received


async def test_a_file_is_public_and_says_what_it_is(user: FalUser) -> None:
    video = await user.video()

    answer = await fetched(video["url"])

    assert answer.status_code == 200
    assert answer.headers["content-type"] == video["content_type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == video["file_size"] == len(answer.content)
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"].startswith('"')
    head = await user.http.head(video["url"])
    assert int(head.headers["content-length"]) == video["file_size"]
    assert (await fetched(video["url"].replace("/b/", "/b/x"))).status_code == 404


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=10-19", 10, 19), ("bytes=-7", -7, -1), ("bytes=100-", 100, -1), ("bytes=0-0", 0, 0)],
)
async def test_a_range_answers_just_that(user: FalUser, asked: str, first: int, last: int) -> None:
    video = await user.video()
    whole = (await fetched(video["url"])).content
    size = len(whole)

    part = await fetched(video["url"], Range=asked)

    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes {first % size}-{last % size}/{size}"
    assert part.content == whole[first % size : last % size + 1]


@pytest.mark.parametrize("asked", ["bytes=1-0", "bytes=99999999-", "bytes=-0"])
async def test_a_range_beyond_the_file_answers_416(user: FalUser, asked: str) -> None:
    video = await user.video()

    answer = await fetched(video["url"], Range=asked)

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{video['file_size']}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=a-b"])
async def test_any_other_range_answers_the_whole(user: FalUser, asked: str) -> None:
    video = await user.video()

    answer = await fetched(video["url"], Range=asked)

    assert (answer.status_code, len(answer.content)) == (200, video["file_size"])


async def test_a_range_holds_only_if_the_etag_still_does(user: FalUser) -> None:
    video = await user.video()
    etag = (await fetched(video["url"])).headers["etag"]

    same = await fetched(video["url"], Range="bytes=0-9", If_Range=etag)
    other = await fetched(video["url"], Range="bytes=0-9", If_Range='"other"')

    assert (same.status_code, other.status_code) == (206, 200)


async def test_a_truncated_file_breaks_off_half_way(user: FalUser) -> None:
    video = await user.video("truncated")

    with pytest.raises(httpx.RemoteProtocolError):
        await fetched(video["url"])
    headers, received = await started(video["url"], video["file_size"] // 2)
    assert int(headers["content-length"]) == video["file_size"]
    assert len(received) == video["file_size"] // 2


async def test_a_short_file_ends_properly_with_less_than_told(user: FalUser) -> None:
    video = await user.video("short")

    answer = await fetched(video["url"])

    assert "content-length" not in answer.headers
    assert len(answer.content) == video["file_size"] // 2


async def test_a_stalled_file_sends_half_and_stays_silent(user: FalUser) -> None:
    video = await user.video("stalled_file")

    _, received = await started(video["url"], video["file_size"] // 2)
    assert len(received) == video["file_size"] // 2
    with pytest.raises(TimeoutError):
        await user.impatient(video["url"])


async def test_a_slow_file_keeps_its_pace(user: FalUser) -> None:
    video = await user.video("slow_file=4000")
    loop = asyncio.get_running_loop()

    began = loop.time()
    answer = await fetched(video["url"], Range="bytes=0-1999")

    assert len(answer.content) == 2000
    assert 0.4 < loop.time() - began < 5


@pytest.mark.parametrize(("fault", "start"), [("html", b"<!doctype html>"), ("empty_file", b"")])
async def test_something_else_is_served_as_video(user: FalUser, fault: str, start: bytes) -> None:
    video = await user.video(fault)

    answer = await fetched(video["url"])

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content[:15] == start
    assert int(answer.headers["content-length"]) == len(answer.content)


async def test_a_gone_file_stays_gone(user: FalUser) -> None:
    video = await user.video("gone")

    assert (await fetched(video["url"])).status_code == 404
    assert (await user.video("gone"))["url"] != video["url"]
    assert (await fetched(video["url"])).status_code == 404


async def test_a_file_gone_once_has_a_new_address_in_the_next_result(user: FalUser) -> None:
    handle = await user.accepted("gone_once")
    await user.completed(handle)

    async def url() -> str:
        result = (await user.http.get(handle["response_url"])).json()
        return str(result["video"]["url"])

    first = await url()
    assert await url() == first  # nobody tried it yet
    assert (await fetched(first)).status_code == 404
    second = await url()
    assert second != first
    assert (await fetched(second)).status_code == 200
    assert (await fetched(first)).status_code == 404
    assert await url() == second


async def test_a_failing_file_recovers_after_as_many_times_as_asked(user: FalUser) -> None:
    video = await user.video("file_503=2")

    statuses = [(await fetched(video["url"])).status_code for _ in range(4)]

    assert statuses == [503, 503, 200, 200]


async def test_a_huge_file_announces_ten_gibibytes(user: FalUser) -> None:
    video = await user.video("huge")

    headers, received = await started(video["url"], 1_000_000)

    assert int(headers["content-length"]) == 10 * 1024**3
    assert len(received) >= 1_000_000


async def test_an_endless_file_announces_nothing_and_goes_on(user: FalUser) -> None:
    video = await user.video("endless")

    headers, received = await started(video["url"], 8_000_000)

    assert "content-length" not in headers
    assert len(received) >= 8_000_000


@pytest.mark.parametrize(
    ("fault", "leads_to"),
    [("redirect_private", "http://169.254.169.254/"), ("redirect", "/files/b/")],
)
async def test_a_file_is_redirected(user: FalUser, fault: str, leads_to: str) -> None:
    video = await user.video(fault)

    answer = await fetched(video["url"])

    assert answer.status_code == 302
    assert answer.headers["location"].startswith(leads_to)


async def test_a_redirect_leads_to_the_good_file(user: FalUser) -> None:
    video = await user.video("redirect")

    answer = await user.http.get(video["url"], follow_redirects=True)

    assert len(answer.content) == video["file_size"]
    assert (await user.http.get("/files/b/none/real.mp4")).status_code == 404


async def test_a_padded_file_has_the_size_asked_and_the_same_video_in_front(user: FalUser) -> None:
    plain = await user.video()
    padded = await user.video("bytes=3000000")

    small = (await fetched(plain["url"])).content
    large = (await fetched(padded["url"])).content

    assert padded["file_size"] == len(large) == 3_000_000
    assert large[: len(small)] == small
    box = large[len(small) : len(small) + 8]
    assert box == (3_000_000 - len(small)).to_bytes(4, "big") + b"free"
    assert boxes(large)[-1] == "free"


async def test_a_padded_file_of_half_a_gigabyte_streams(user: FalUser) -> None:
    video = await user.video("bytes=500000000")

    tail = await fetched(video["url"], Range="bytes=499999990-")
    digest = hashlib.sha256(tail.content).hexdigest()

    assert tail.headers["content-range"] == "bytes 499999990-499999999/500000000"
    assert digest == hashlib.sha256(bytes(10)).hexdigest()


async def test_a_file_beyond_32_bits_is_padded_with_a_large_box(user: FalUser) -> None:
    plain = await user.video()
    video = await user.video("bytes=6000000000")

    start = plain["file_size"]
    answer = await fetched(video["url"], Range=f"bytes={start}-{start + 15}")

    length = (6_000_000_000 - start).to_bytes(8, "big")
    assert answer.content == b"\x00\x00\x00\x01free" + length


def boxes(data: bytes) -> list[str]:
    """The names of an MP4's outermost boxes; they must fill the file exactly."""
    names: list[str] = []
    at = 0
    while at < len(data):
        names.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    assert at == len(data)
    return names


async def test_every_file_request_is_counted(user: FalUser) -> None:
    video: dict[str, Any] = await user.video("drop")
    for _ in range(3):
        await fetched(video["url"])

    [one] = await user.requests()

    assert one["files"] == (await user.counts())["files"] == 3
