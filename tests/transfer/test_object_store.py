"""The bucket against moto, through the proxy: every case ends by looking at what is stored."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest

from service.adapters.object_store import R2Bucket, open_bucket
from service.adapters.s3_calls import StorageFailed, StorageRefused
from service.domain.errors import NotAVideo, ObjectConflict, Transient
from service.ports import StoredObject
from tests.transfer.conftest import KEY, STORAGE, Store
from tests.transfer.samples import MIB, mp4
from tests.transfer.servers import Fault

SMALL = mp4(200 * 1024)
LARGE = mp4(700 * 1024)
PUT = f"^PUT /transfers/{KEY}$"
PART = "^PUT .*partNumber="
COMPLETE = "^POST .*uploadId"


class Bytes:
    """A download of what is in memory, in chunks that fit no part; it may fail at the end."""

    def __init__(self, body: bytes, *, known: bool = True, then: Exception | None = None) -> None:
        self.size = len(body) if known else None
        self._body = body
        self._then = then

    async def chunks(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), 65_537):
            yield self._body[at : at + 65_537]
        if self._then is not None:
            raise self._then


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def assert_stored(store: Store, stored: StoredObject, body: bytes) -> None:
    assert stored.key == KEY
    assert (stored.size, stored.sha256) == (len(body), sha256(body))
    assert store.object() == body
    assert store.unfinished == 0


def assert_nothing_left(store: Store) -> None:
    assert store.object() is None
    assert store.unfinished == 0


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("known", [True, False], ids=["length", "no length"])
async def test_a_video_is_stored_as_it_came(
    bucket: R2Bucket, store: Store, body: bytes, *, known: bool
) -> None:
    stored = await bucket.put_video(KEY, "job-1", Bytes(body, known=known))
    assert not stored.reused
    assert_stored(store, stored, body)
    answer = await _get(bucket.url(KEY, 60))
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Content-Disposition"] == 'inline; filename="job-1.mp4"'
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert store.facts().metadata["x-amz-meta-job"] == "job-1"


async def test_a_small_file_is_one_request_and_a_large_one_is_of_equal_parts(
    bucket: R2Bucket, store: Store
) -> None:
    await bucket.put_video(KEY, "job-1", Bytes(SMALL))
    assert (
        store.proxy.log == [f"HEAD /transfers/{KEY}", f"PUT /transfers/{KEY}?x-id=PutObject"]
        or len(store.proxy.log) == 2
    )
    await bucket.put_video("users/0/library/2.mp4", "2", Bytes(LARGE))
    assert store.facts("users/0/library/2.mp4").etag.strip('"').endswith("-3")


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
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


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_racers_end_with_one_object_and_one_answer(
    bucket: R2Bucket, store: Store, body: bytes
) -> None:
    puts = [bucket.put_video(KEY, "job-1", Bytes(body)) for _ in range(3)]
    for stored in await asyncio.gather(*puts):
        assert_stored(store, stored, body)


async def test_a_key_that_another_job_wrote_is_a_conflict_and_stays(
    bucket: R2Bucket, store: Store
) -> None:
    await bucket.put_video(KEY, "other", Bytes(SMALL))
    with pytest.raises(ObjectConflict):
        await bucket.put_video(KEY, "job-1", Bytes(LARGE))
    with pytest.raises(ObjectConflict):
        await bucket.find_video(KEY, "job-1")
    assert store.object() == SMALL
    assert store.unfinished == 0


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_a_conflict_that_appears_during_the_upload_is_one_too(
    bucket: R2Bucket, store: Store, body: bytes
) -> None:
    class Overtaken(Bytes):
        async def chunks(self) -> AsyncIterator[bytes]:
            await bucket.put_video(KEY, "other", Bytes(SMALL))
            async for chunk in super().chunks():
                yield chunk

    with pytest.raises(ObjectConflict):
        await bucket.put_video(KEY, "job-1", Overtaken(body))
    assert store.object() == SMALL
    assert store.unfinished == 0


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("error", [NotAVideo("cut"), Transient("slow"), ValueError("a bug")])
async def test_a_download_that_fails_leaves_nothing_and_its_error_comes_through(
    bucket: R2Bucket, store: Store, body: bytes, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised:
        await bucket.put_video(KEY, "job-1", Bytes(body, then=error))
    assert raised.value is error
    assert_nothing_left(store)


@pytest.mark.parametrize("body", [SMALL, LARGE, b""], ids=["small", "large", "empty"])
async def test_a_download_that_ends_early_and_says_nothing_is_not_stored(
    bucket: R2Bucket, store: Store, body: bytes
) -> None:
    cut = Bytes(body)
    cut.size = len(body) + 1
    with pytest.raises(Transient):
        await bucket.put_video(KEY, "job-1", cut)
    assert_nothing_left(store)


SMALL_FAULTS = [
    (PUT, "503 ServiceUnavailable"),
    (PUT, "500 InternalError"),
    (PUT, "429 TooManyRequests"),
    (PUT, "400 ClientDisconnect"),
    (PUT, "400 IncompleteBody"),
    (PUT, "reset"),
    (PUT, "lose"),
    ("^HEAD", "503 SlowDown"),
    ("^HEAD", "reset"),
]
LARGE_FAULTS = [
    ("^POST .*uploads", "500 InternalError"),
    *[(PART, fault) for _, fault in SMALL_FAULTS[:7]],
    (COMPLETE, "500 InternalError"),
    (COMPLETE, "429 TooManyRequests"),
    (COMPLETE, "reset"),
    (COMPLETE, "lose"),
]


@pytest.mark.parametrize(
    ("body", "pattern", "action"),
    [
        *((SMALL, *fault) for fault in SMALL_FAULTS),
        *((LARGE, *fault) for fault in LARGE_FAULTS),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
async def test_a_passing_fault_of_the_store_is_survived(
    bucket: R2Bucket, store: Store, body: bytes, pattern: str, action: str
) -> None:
    # aiohttp itself sends a request again once whose connection was reset: two are needed.
    store.proxy.faults.append(Fault(pattern, action, times=2))
    stored = await bucket.put_video(KEY, "job-1", Bytes(body))
    assert_stored(store, stored, body)
    assert store.proxy.faults[0].times < 2, "the fault was met"


@pytest.mark.parametrize(
    ("body", "pattern"), [(SMALL, PUT), (LARGE, COMPLETE)], ids=["put", "complete"]
)
async def test_a_lost_answer_to_the_last_request_is_found_out_and_called_reuse(
    bucket: R2Bucket, store: Store, body: bytes, pattern: str
) -> None:
    store.proxy.faults.append(Fault(pattern, "lose", times=9))
    stored = await bucket.put_video(KEY, "job-1", Bytes(body))
    assert stored.reused
    assert_stored(store, stored, body)
    assert store.proxy.sent("^GET") == 0, "not read back: its ETag proves it is what was sent"


@pytest.mark.parametrize("action", ["500 InternalError", "429 TooManyRequests", "reset"])
@pytest.mark.parametrize(
    ("body", "pattern"),
    [(SMALL, PUT), (LARGE, "^POST .*uploads"), (LARGE, "partNumber=2"), (LARGE, COMPLETE)],
    ids=["put", "create", "part", "complete"],
)
async def test_a_fault_that_stays_ends_in_transient_with_nothing_left(
    bucket: R2Bucket, store: Store, body: bytes, pattern: str, action: str
) -> None:
    store.proxy.faults.append(Fault(pattern, action, times=99))
    with pytest.raises(StorageFailed) as failed:
        await bucket.put_video(KEY, "job-1", Bytes(body))
    assert failed.value.s3_code == (action.split()[1] if " " in action else "ConnectionClosedError")
    assert_nothing_left(store)


@pytest.mark.parametrize("action", ["silent", "stuck"])
@pytest.mark.parametrize(
    ("body", "pattern"), [(mp4(7 * MIB), PUT), (mp4(18 * MIB), "partNumber=2")], ids=["put", "part"]
)
async def test_a_store_that_goes_silent_costs_a_bounded_time(
    store: Store, body: bytes, pattern: str, action: str
) -> None:
    # Larger than what the sockets between us can swallow: a store that stops reading is felt.
    limits = replace(STORAGE, part_bytes=8 * MIB, single_put_bytes=8 * MIB)
    limits = replace(limits, attempts=1, upload_timeout_s=0.2)
    store.proxy.faults.append(Fault(pattern, action, times=9))
    async with open_bucket(store.settings, limits) as bucket, asyncio.timeout(5):
        with pytest.raises(StorageFailed) as failed:
            await bucket.put_video(KEY, "job-1", Bytes(body))
    assert failed.value.status is None
    assert_nothing_left(store)


@pytest.mark.parametrize("action", ["403 AccessDenied", "401 Unauthorized", "404 NoSuchBucket"])
@pytest.mark.parametrize(
    ("body", "pattern"),
    [(SMALL, PUT), (LARGE, "^POST .*uploads"), (LARGE, PART)],
    ids=["put", "create", "part"],
)
async def test_a_revoked_key_or_missing_bucket_is_told_apart_and_not_hammered(
    bucket: R2Bucket, store: Store, body: bytes, pattern: str, action: str
) -> None:
    store.proxy.faults.append(Fault(pattern, action, times=99))
    with pytest.raises(StorageRefused, match=action.split()[1]) as refused:
        await bucket.put_video(KEY, "job-1", Bytes(body))
    assert isinstance(refused.value, Transient)
    assert store.proxy.sent(pattern) <= STORAGE.parts_at_once
    assert_nothing_left(store)


async def test_a_failure_names_neither_key_nor_address(store: Store) -> None:
    settings = replace(store.settings, endpoint_url="http://127.0.0.1:1")
    async with open_bucket(settings, STORAGE) as bucket:
        with pytest.raises(Transient) as failed:
            await bucket.check()
    told = f"{failed.value}{failed.value.__cause__}{settings!r}"
    assert "SKTEST" not in told
    assert "127.0.0.1" not in str(failed.value)


class Stalling(Bytes):
    """Hands everything out, says so, and never ends."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.stalled = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in super().chunks():
            yield chunk
        self.stalled.set()
        await asyncio.Event().wait()


async def test_a_cancelled_upload_is_aborted(bucket: R2Bucket, store: Store) -> None:
    download = Stalling(LARGE)
    upload = asyncio.create_task(bucket.put_video(KEY, "job-1", download))
    async with asyncio.timeout(5):
        await download.stalled.wait()
    assert store.unfinished == 1
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert_nothing_left(store)


async def test_an_upload_cancelled_twice_is_aborted_all_the_same(
    bucket: R2Bucket, store: Store
) -> None:
    download = Stalling(LARGE)
    upload = asyncio.create_task(bucket.put_video(KEY, "job-1", download))
    async with asyncio.timeout(5):
        await download.stalled.wait()
        upload.cancel()
        while not store.proxy.sent("^DELETE"):  # noqa: ASYNC110 - counted in another thread
            await asyncio.sleep(0)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
    assert_nothing_left(store)


async def test_an_abort_that_fails_does_not_hide_the_reason_for_it(
    bucket: R2Bucket, store: Store
) -> None:
    store.proxy.faults.append(Fault("^DELETE", "503 SlowDown", times=99))
    with pytest.raises(NotAVideo, match="cut") as raised:
        await bucket.put_video(KEY, "job-1", Bytes(LARGE, then=NotAVideo("cut")))
    assert "SlowDown" in raised.value.__notes__[0]
    store.proxy.faults.clear()
    assert await bucket.abort_leftovers(KEY) == 1
    assert_nothing_left(store)


async def test_what_a_dead_attempt_left_is_aborted_by_its_heir_and_only_that(
    bucket: R2Bucket, store: Store
) -> None:
    for key in (KEY, KEY, f"{KEY}.other"):
        await bucket._s3.create_multipart_upload(Bucket="transfers", Key=key)
    assert await bucket.abort_leftovers(KEY) == 2
    assert await bucket.abort_leftovers(KEY) == 0
    assert store.unfinished == 1
    stored = await bucket.put_video(KEY, "job-1", Bytes(LARGE))
    assert (store.object(), stored.reused) == (LARGE, False)


async def test_a_store_that_cannot_list_uploads_has_no_leftovers(
    bucket: R2Bucket, store: Store
) -> None:
    store.proxy.faults.append(Fault("^GET .*uploads", "501 NotImplemented"))
    assert await bucket.abort_leftovers(KEY) == 0


async def test_other_bytes_in_the_store_than_were_sent_are_taken_away_again(
    bucket: R2Bucket, store: Store, corrupted: None
) -> None:
    with pytest.raises(Transient, match="other bytes"):
        await bucket.put_video(KEY, "job-1", Bytes(SMALL))
    assert_nothing_left(store)


@pytest.fixture
def corrupted(bucket: R2Bucket) -> Iterator[None]:
    """The store confirms with an ETag that is not of what was sent."""

    def spoil(parsed: dict[str, object], **_: object) -> None:
        parsed["ETag"] = '"0123"'

    bucket._s3.meta.events.register("after-call.s3.PutObject", spoil)
    yield
    bucket._s3.meta.events.unregister("after-call.s3.PutObject", spoil)


async def test_nothing_is_found_where_nothing_is(bucket: R2Bucket) -> None:
    assert await bucket.find_video(KEY, "job-1") is None


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


async def test_the_check_says_whether_the_bucket_is_there(store: Store) -> None:
    async with open_bucket(store.settings, STORAGE) as bucket:
        await bucket.check()
    async with open_bucket(replace(store.settings, bucket="none"), STORAGE) as bucket:
        with pytest.raises(StorageRefused):
            await bucket.check()


async def test_a_signed_address_serves_ranges(bucket: R2Bucket, store: Store) -> None:
    await bucket.put_video(KEY, "job-1", Bytes(SMALL))
    url = bucket.url(KEY, 900)
    assert "X-Amz-Expires=900" in url
    assert "SKTEST" not in url
    answer = await _get(url, {"Range": "bytes=100-199"})
    assert (answer.status_code, answer.content) == (206, SMALL[100:200])


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


async def test_no_request_carries_what_r2_does_not_know(bucket: R2Bucket, store: Store) -> None:
    seen: list[dict[str, str]] = []

    def note(request: object, **_: object) -> None:
        seen.append({k.lower(): str(v) for k, v in request.headers.items()})  # type: ignore[attr-defined]

    bucket._s3.meta.events.register("before-send.s3", note)
    await bucket.put_video(KEY, "job-1", Bytes(LARGE))
    await bucket.put_video("small", "job-1", Bytes(SMALL))
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
