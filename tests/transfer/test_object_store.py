"""The bucket against moto and against Cloudflare's simulator, through the proxy.

Every case ends by looking at what is stored. Not on the simulator: what it answers differently
from R2 itself (it ignores If-None-Match on Complete, and lists no uploads), and repetitions of
what the proxy alone decides.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest

from service.adapters.object_store import R2Bucket, open_bucket
from service.adapters.s3_calls import StorageRefused
from service.domain.errors import NotAVideo, ObjectConflict, Transient
from tests.transfer.samples import Bytes
from tests.transfer.stores import (
    KEY,
    STORAGE,
    Store,
    assert_nothing_left,
    assert_stored,
    of_both_sizes,
    on_both,
)

# The simulator ignores If-None-Match on CompleteMultipartUpload, as R2 does not.
where_writes_are_conditional = pytest.mark.parametrize(
    ("store_kind", "size"),
    [("moto", "small"), ("moto", "large"), ("simulator", "small")],
    indirect=["store_kind"],
)


@pytest.mark.parametrize(
    ("store_kind", "known"),
    [("moto", True), ("moto", False), ("simulator", True)],
    ids=["moto", "moto, no length", "simulator"],
    indirect=["store_kind"],
)
@of_both_sizes
async def test_a_video_is_stored_as_it_came(
    bucket: R2Bucket, store: Store, body: bytes, *, known: bool
) -> None:
    stored = await bucket.put_video(KEY, "job-1", Bytes(body, known=known))
    assert not stored.reused
    assert_stored(store, stored, body)
    answer = await _get(bucket.url(KEY, 60))
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="job-1.mp4"'
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.content == body
    assert store.metadata()["job"] == "job-1"


async def test_a_small_file_is_one_request_and_a_large_one_is_of_equal_parts(
    bucket: R2Bucket, store: Store, small: bytes, large: bytes
) -> None:
    await bucket.put_video(KEY, "job-1", Bytes(small))
    assert [line.split()[0] for line in store.proxy.log] == ["HEAD", "PUT"]
    await bucket.put_video("users/0/library/2.mp4", "2", Bytes(large))
    assert store.proxy.sent("^PUT .*partNumber=") == 3
    assert store.proxy.sent("^POST") == 2


@on_both
@of_both_sizes
async def test_a_repeat_finds_the_object_and_sends_nothing(
    bucket: R2Bucket, store: Store, body: bytes
) -> None:
    await bucket.put_video(KEY, "job-1", Bytes(body))
    store.proxy.log.clear()
    again = await bucket.put_video(KEY, "job-1", Bytes(b"never read"))
    assert again.reused
    assert_stored(store, again, body)
    assert store.proxy.sent("PUT|POST") == 0
    assert await bucket.find_video(KEY, "job-1") == again


@where_writes_are_conditional
async def test_of_racers_one_writes_and_the_others_use_its_object(
    bucket: R2Bucket, store: Store, body: bytes
) -> None:
    puts = [bucket.put_video(KEY, "job-1", Bytes(body)) for _ in range(3)]
    all_stored = await asyncio.gather(*puts)
    for stored in all_stored:
        assert_stored(store, stored, body)
    assert sorted(stored.reused for stored in all_stored) == [False, True, True]


@on_both
async def test_a_key_that_another_job_wrote_is_a_conflict_and_stays(
    bucket: R2Bucket, store: Store, small: bytes, large: bytes
) -> None:
    await bucket.put_video(KEY, "other", Bytes(small))
    with pytest.raises(ObjectConflict):
        await bucket.put_video(KEY, "job-1", Bytes(large))
    with pytest.raises(ObjectConflict):
        await bucket.find_video(KEY, "job-1")
    assert store.object() == small
    assert store.unfinished == 0


@where_writes_are_conditional
async def test_a_conflict_that_appears_during_the_upload_is_one_too(
    bucket: R2Bucket, store: Store, body: bytes, small: bytes
) -> None:
    class Overtaken(Bytes):
        async def chunks(self) -> AsyncIterator[bytes]:
            await bucket.put_video(KEY, "other", Bytes(small))
            async for chunk in super().chunks():
                yield chunk

    with pytest.raises(ObjectConflict):
        await bucket.put_video(KEY, "job-1", Overtaken(body))
    assert store.object() == small
    assert store.unfinished == 0


FAILURES = [NotAVideo("cut"), Transient("slow"), ValueError("a bug")]


@pytest.mark.parametrize(
    ("store_kind", "size", "error"),
    [
        *(("moto", size, error) for size in ("small", "large") for error in FAILURES),
        ("simulator", "large", FAILURES[0]),
    ],
    indirect=["store_kind"],
)
async def test_a_download_that_fails_leaves_nothing_and_its_error_comes_through(
    bucket: R2Bucket, store: Store, body: bytes, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised:
        await bucket.put_video(KEY, "job-1", Bytes(body, then=error))
    assert raised.value is error
    assert_nothing_left(store)


@pytest.mark.parametrize("size", ["small", "large", "empty"])
async def test_a_download_that_ends_early_and_says_nothing_is_not_stored(
    bucket: R2Bucket, store: Store, body: bytes
) -> None:
    cut = Bytes(body)
    cut.size = len(body) + 1
    with pytest.raises(Transient):
        await bucket.put_video(KEY, "job-1", cut)
    assert_nothing_left(store)


async def test_a_failure_names_neither_key_nor_address(store: Store) -> None:
    settings = replace(store.settings, endpoint_url="http://127.0.0.1:1")
    async with open_bucket(settings, STORAGE) as bucket:
        with pytest.raises(Transient) as failed:
            await bucket.check()
    told = f"{failed.value}{failed.value.__cause__}{settings!r}"
    assert "SKTEST" not in told
    assert "127.0.0.1" not in str(failed.value)


async def test_other_bytes_in_the_store_than_were_sent_are_taken_away_again(
    bucket: R2Bucket, store: Store, corrupted: None, small: bytes
) -> None:
    with pytest.raises(Transient, match="other bytes"):
        await bucket.put_video(KEY, "job-1", Bytes(small))
    assert_nothing_left(store)


@pytest.fixture
def corrupted(bucket: R2Bucket) -> Iterator[None]:
    """The store confirms with an ETag that is not of what was sent."""

    def spoil(parsed: dict[str, object], **_: object) -> None:
        parsed["ETag"] = '"0123"'

    bucket._s3.meta.events.register("after-call.s3.PutObject", spoil)
    yield
    bucket._s3.meta.events.unregister("after-call.s3.PutObject", spoil)


@on_both
async def test_nothing_is_found_where_nothing_is(bucket: R2Bucket) -> None:
    assert await bucket.find_video(KEY, "job-1") is None


@on_both
async def test_an_image_may_be_stored_again_and_an_object_deleted_again(
    bucket: R2Bucket, store: Store
) -> None:
    for _ in range(2):
        await bucket.put_image("users/0/images/1.png", b"png", "image/png")
    assert store.object("users/0/images/1.png") == b"png"
    answer = await _get(bucket.url("users/0/images/1.png", 60))
    assert answer.headers["Content-Type"] == "image/png"
    for _ in range(2):
        await bucket.delete("users/0/images/1.png")
    assert store.object("users/0/images/1.png") is None


@on_both
async def test_the_check_says_whether_the_bucket_is_there(bucket: R2Bucket, store: Store) -> None:
    await bucket.check()
    async with open_bucket(replace(store.settings, bucket="none"), store.limits) as none:
        with pytest.raises(StorageRefused):
            await none.check()


@on_both
async def test_a_signed_address_serves_ranges(bucket: R2Bucket, store: Store, small: bytes) -> None:
    await bucket.put_video(KEY, "job-1", Bytes(small))
    url = bucket.url(KEY, 900)
    assert "X-Amz-Expires=900" in url
    assert store.settings.secret_access_key not in url
    answer = await _get(url, {"Range": "bytes=100-199"})
    assert (answer.status_code, answer.content) == (206, small[100:200])


async def test_a_signed_address_is_the_one_botocore_itself_would_make(
    bucket: R2Bucket, store: Store
) -> None:
    key = "users/ü ~+&=/images/a b.png"
    theirs = await bucket._s3.generate_presigned_url(
        "get_object", Params={"Bucket": "transfers", "Key": key}, ExpiresIn=60
    )
    ours = bucket.url(key, 60)
    assert httpx.URL(ours).raw_path.split(b"?")[0] == httpx.URL(theirs).raw_path.split(b"?")[0]
    ours_params, theirs_params = httpx.URL(ours).params, httpx.URL(theirs).params
    assert set(ours_params) == set(theirs_params)
    if ours_params["X-Amz-Date"] == theirs_params["X-Amz-Date"]:
        assert ours_params["X-Amz-Signature"] == theirs_params["X-Amz-Signature"]


async def test_only_library_objects_are_served_from_the_public_address(store: Store) -> None:
    settings = replace(store.settings, public_base_url="https://videos.example.com/")
    async with open_bucket(settings) as bucket:
        assert bucket.url(KEY, 60) == f"https://videos.example.com/{KEY}"
        assert bucket.url("users/0/images/1.png", 60).startswith(settings.endpoint_url)


async def test_no_request_carries_what_r2_does_not_know(
    bucket: R2Bucket, store: Store, small: bytes, large: bytes
) -> None:
    seen: list[dict[str, str]] = []

    def note(request: object, **_: object) -> None:
        seen.append({k.lower(): str(v) for k, v in request.headers.items()})  # type: ignore[attr-defined]

    bucket._s3.meta.events.register("before-send.s3", note)
    await bucket.put_video(KEY, "job-1", Bytes(large))
    await bucket.put_video("small", "job-1", Bytes(small))
    await bucket.put_image("image", b"png", "image/png")
    bucket._s3.meta.events.unregister("before-send.s3", note)
    names = {name for headers in seen for name in headers}
    assert not names & {
        "expect",
        "content-encoding",
        "x-amz-trailer",
        "x-amz-sdk-checksum-algorithm",
    }
    assert sum("content-md5" in headers for headers in seen) == 5


async def _get(url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url, headers=headers)
