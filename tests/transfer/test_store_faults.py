"""A store that fails, and uploads that end early: what is stored then, and what is left over."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.adapters.object_store import R2Bucket, open_bucket
from service.adapters.s3_calls import StorageFailed, StorageRefused
from service.domain.errors import DependencyDown, NotAVideo
from tests.transfer.samples import MIB, Bytes
from tests.transfer.servers import Fault
from tests.transfer.stores import (
    KEY,
    STORAGE,
    Store,
    assert_nothing_left,
    assert_stored,
    on_both,
)

PUT = f"^PUT /transfers/{KEY}$"
PART = "^PUT .*partNumber="
COMPLETE = "^POST .*uploadId"

FAULTS = ["503 ServiceUnavailable", "500 InternalError", "429 TooManyRequests"]
FAULTS += ["400 ClientDisconnect", "400 IncompleteBody", "reset", "lose"]
PASSING = [
    *(("moto", "small", PUT, fault) for fault in FAULTS),
    ("moto", "small", "^HEAD", "503 SlowDown"),
    ("moto", "small", "^HEAD", "reset"),
    *(("moto", "large", PART, fault) for fault in FAULTS),
    ("moto", "large", COMPLETE, "500 InternalError"),
    ("moto", "large", COMPLETE, "429 TooManyRequests"),
    ("moto", "large", COMPLETE, "reset"),
    ("moto", "large", COMPLETE, "lose"),
    # What a strict store makes of a request that comes a second time.
    ("simulator", "small", PUT, "lose"),
    ("simulator", "large", PART, "lose"),
]


@pytest.mark.parametrize(
    ("store_kind", "size", "pattern", "action"), PASSING, indirect=["store_kind"]
)
async def test_a_passing_fault_of_the_store_is_survived(
    bucket: R2Bucket, store: Store, body: bytes, pattern: str, action: str
) -> None:
    """F54, F56: the request is sent again, or found to have worked; one whole object."""
    # aiohttp itself sends a request again once whose connection was reset: two are needed.
    store.proxy.faults.append(Fault(pattern, action, times=2))
    stored = await bucket.put_video(KEY, "job-1", Bytes(body))
    assert_stored(store, stored, body)
    assert store.proxy.faults[0].times < 2, "the fault was met"


@pytest.mark.parametrize("action", ["500 InternalError", "lose"])
async def test_an_upload_whose_beginning_is_in_doubt_is_begun_by_the_next_attempt(
    bucket: R2Bucket, store: Store, large: bytes, action: str
) -> None:
    """F55: begun twice, the first would be left behind under an id that nobody knows."""
    store.proxy.faults.append(Fault("^POST .*uploads", action, times=2))
    with pytest.raises(StorageFailed):
        await bucket.put_video(KEY, "job-1", Bytes(large))
    store.proxy.faults.clear()

    await bucket.abort_leftovers(KEY)
    stored = await bucket.put_video(KEY, "job-1", Bytes(large))
    assert_stored(store, stored, large)


@pytest.mark.parametrize("action", ["503 ServiceUnavailable", "429 TooManyRequests", "silent"])
async def test_only_the_part_that_failed_is_sent_again(
    store: Store, large: bytes, action: str
) -> None:
    """F54: 5xx, 429 and a timeout at part 2 repeat part 2, and neither another nor the upload."""
    store.proxy.faults.append(Fault("partNumber=2", action))
    # Long enough for a part on a busy machine.
    limits = replace(store.limits, upload_timeout_s=1.5)
    async with open_bucket(store.settings, limits) as bucket:
        stored = await bucket.put_video(KEY, "job-1", Bytes(large))
    assert_stored(store, stored, large)
    asked = ["^POST .*uploads", "partNumber=1", "partNumber=2", "partNumber=3", COMPLETE]
    assert [store.proxy.sent(pattern) for pattern in asked] == [1, 1, 2, 1, 1]


@on_both
@pytest.mark.parametrize(("size", "pattern"), [("small", PUT), ("large", COMPLETE)])
async def test_a_lost_answer_to_the_last_request_is_found_out_and_called_reuse(
    bucket: R2Bucket, store: Store, body: bytes, pattern: str
) -> None:
    """F56: no answer ever comes, but the object that is there has the hash of what was sent."""
    store.proxy.faults.append(Fault(pattern, "lose", times=9))
    stored = await bucket.put_video(KEY, "job-1", Bytes(body))
    assert stored.reused
    assert_stored(store, stored, body)
    assert store.proxy.sent("^GET") == 0, "not read back: its ETag proves it is what was sent"


STEPS = [
    ("small", PUT),
    ("large", "^POST .*uploads"),
    ("large", "partNumber=2"),
    ("large", COMPLETE),
]
step_ids = ["put", "create", "part", "complete"]


@pytest.mark.parametrize("action", ["500 InternalError", "429 TooManyRequests", "reset"])
@pytest.mark.parametrize(("size", "pattern"), STEPS, ids=step_ids)
async def test_a_fault_that_stays_ends_in_transient_with_nothing_left(
    bucket: R2Bucket, store: Store, body: bytes, pattern: str, action: str
) -> None:
    """F54: given up after so many attempts, and the upload aborted."""
    store.proxy.faults.append(Fault(pattern, action, times=99))
    with pytest.raises(StorageFailed) as failed:
        await bucket.put_video(KEY, "job-1", Bytes(body))
    assert failed.value.s3_code == (action.split()[1] if " " in action else "ConnectionClosedError")
    assert_nothing_left(store)


@pytest.mark.parametrize("store_kind", ["simulator"], indirect=True)
async def test_an_upload_given_up_leaves_no_part_on_r2s_disk(
    bucket: R2Bucket, store: Store, large: bytes
) -> None:
    """F54: the parts that were already there are gone too."""
    store.proxy.faults.append(Fault("partNumber=3", "500 InternalError", times=99))
    with pytest.raises(StorageFailed):
        await bucket.put_video(KEY, "job-1", Bytes(large))
    assert store.proxy.sent(PART) > 1, "others were sent"
    assert_nothing_left(store)


@pytest.mark.parametrize("action", ["silent", "stuck"])
@pytest.mark.parametrize(
    ("bytes_sent", "pattern"), [(7 * MIB, PUT), (17 * MIB, "partNumber=2")], ids=["put", "part"]
)
async def test_a_store_that_goes_silent_costs_a_bounded_time(
    store: Store, bytes_sent: int, pattern: str, action: str
) -> None:
    """F54: a time-out that stays; the upload is aborted."""
    # Larger than what the sockets between us can swallow: a store that stops reading is felt.
    limits = replace(STORAGE, part_bytes=8 * MIB, single_put_bytes=8 * MIB)
    limits = replace(limits, attempts=1, upload_timeout_s=0.2)
    store.proxy.faults.append(Fault(pattern, action, times=9))
    async with open_bucket(store.settings, limits) as bucket, asyncio.timeout(5):
        with pytest.raises(StorageFailed) as failed:
            await bucket.put_video(KEY, "job-1", Bytes(bytes(bytes_sent)))
    assert failed.value.status is None
    assert_nothing_left(store)


@pytest.mark.parametrize("action", ["403 AccessDenied", "401 Unauthorized", "404 NoSuchBucket"])
@pytest.mark.parametrize(("size", "pattern"), STEPS[:3], ids=step_ids[:3])
async def test_a_revoked_key_or_missing_bucket_is_told_apart_and_not_hammered(
    bucket: R2Bucket, store: Store, body: bytes, pattern: str, action: str
) -> None:
    """F57: named as everybody's trouble, so that no job is blamed for it."""
    store.proxy.faults.append(Fault(pattern, action, times=99))
    with pytest.raises(StorageRefused, match=action.split()[1]) as refused:
        await bucket.put_video(KEY, "job-1", Bytes(body))
    assert isinstance(refused.value, DependencyDown)
    assert store.proxy.sent(pattern) <= STORAGE.parts_at_once
    assert_nothing_left(store)


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


@on_both
async def test_a_cancelled_upload_is_aborted(bucket: R2Bucket, store: Store, large: bytes) -> None:
    download = Stalling(large)
    upload = asyncio.create_task(bucket.put_video(KEY, "job-1", download))
    async with asyncio.timeout(5):
        await download.stalled.wait()
    assert store.unfinished
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert_nothing_left(store)


async def test_an_upload_cancelled_twice_is_aborted_all_the_same(
    bucket: R2Bucket, store: Store, large: bytes
) -> None:
    download = Stalling(large)
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
    bucket: R2Bucket, store: Store, large: bytes
) -> None:
    store.proxy.faults.append(Fault("^DELETE", "503 SlowDown", times=99))
    with pytest.raises(NotAVideo, match="cut") as raised:
        await bucket.put_video(KEY, "job-1", Bytes(large, then=NotAVideo("cut")))
    assert "SlowDown" in raised.value.__notes__[0]
    store.proxy.faults.clear()
    assert await bucket.abort_leftovers(KEY) == 1
    assert_nothing_left(store)


async def test_what_a_dead_attempt_left_is_aborted_by_its_heir_and_only_that(
    bucket: R2Bucket, store: Store, large: bytes
) -> None:
    """F55: the list shows none of that key afterwards."""
    for key in (KEY, KEY, f"{KEY}.other"):
        await bucket._s3.create_multipart_upload(Bucket="transfers", Key=key)
    assert await bucket.abort_leftovers(KEY) == 2
    assert await bucket.abort_leftovers(KEY) == 0
    assert store.unfinished == 1
    stored = await bucket.put_video(KEY, "job-1", Bytes(large))
    assert (store.object(), stored.reused) == (large, False)


@pytest.mark.parametrize("store_kind", ["simulator"], indirect=True)
async def test_a_store_that_cannot_list_uploads_hinders_nobody(
    bucket: R2Bucket, store: Store
) -> None:
    await bucket._s3.create_multipart_upload(Bucket="transfers", Key=KEY)
    assert await bucket.abort_leftovers(KEY) == 0
    assert store.unfinished == 1
