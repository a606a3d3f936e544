"""What only a strict store notices: signatures, hashes, part sizes."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from service.adapters.object_store import R2Bucket, open_bucket
from service.adapters.s3_calls import StorageFailed, StorageRefused
from tests.r2.simulator import BUCKET, Simulator
from tests.transfer.samples import MIB, Bytes, mp4
from tests.transfer.servers import Fault, S3FaultProxy
from tests.transfer.stores import R2_PART_BYTES, R2_STORAGE

VIDEO = mp4(100_000)


async def test_a_wrong_secret_is_refused_by_every_call_and_named_as_everybodys_trouble(
    simulator: Simulator,
) -> None:
    """F57: a key that is not accepted, or is no longer."""
    settings = replace(simulator.settings(), secret_access_key="revoked")
    async with open_bucket(settings, R2_STORAGE) as bucket:
        for refused in (
            bucket.check(),
            bucket.put_image("refused.png", b"png", "image/png"),
            bucket.put_video("refused.mp4", "job-1", Bytes(VIDEO)),
            bucket.find_video("refused.mp4", "job-1"),
            bucket.delete("refused.mp4"),
        ):
            with pytest.raises(StorageRefused):
                await refused
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(bucket.url("refused.mp4", 60))).status_code == 403
    assert not {"refused.png", "refused.mp4"} & set(simulator.all_keys())


@pytest.mark.parametrize("sizes", [(5, 6, 1), (5, 5, 6)], ids=str)
async def test_unequal_parts_are_refused(bucket: R2Bucket, sizes: tuple[int, ...]) -> None:
    """That ours are accepted is a test only because these are not."""
    s3: Any = bucket._s3
    named = {"Bucket": BUCKET, "Key": "unequal.mp4"}
    named["UploadId"] = (await s3.create_multipart_upload(**named))["UploadId"]
    parts = []
    for number, mib in enumerate(sizes, start=1):
        sent = await s3.upload_part(**named, PartNumber=number, Body=bytes(mib * MIB))
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    with pytest.raises(ClientError):
        await s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    await s3.abort_multipart_upload(**named)


async def test_a_last_part_as_long_as_the_others_is_stored_as_it_came(
    bucket: R2Bucket, simulator: Simulator
) -> None:
    body = mp4(2 * R2_PART_BYTES)
    stored = await bucket.put_video("border.mp4", "job-1", Bytes(body))
    assert simulator.stored(stored.key) == body


async def test_bytes_that_change_on_the_way_are_not_what_was_signed(
    simulator: Simulator, on_the_way: S3FaultProxy
) -> None:
    """Over plain http, where nothing else protects them, the signature covers the body."""
    settings = simulator.settings(f"http://127.0.0.1:{on_the_way.port}{simulator.path}")
    on_the_way.faults.append(Fault("^PUT", "flip", times=9))
    async with open_bucket(settings, R2_STORAGE) as bucket:
        with pytest.raises(StorageFailed, match="XAmzContentSHA256Mismatch"):
            await bucket.put_image("changed.png", b"png", "image/png")
        with pytest.raises(StorageFailed):
            await bucket.put_video("changed.mp4", "job-1", Bytes(VIDEO))
    assert not {"changed.png", "changed.mp4"} & set(simulator.all_keys())


async def test_a_signed_address_is_good_for_its_object_and_time_only(
    bucket: R2Bucket,
) -> None:
    for key in ("a.png", "users/ü ~+&=/images/a b.png"):
        await bucket.put_image(key, b"png", "image/png")
    async with httpx.AsyncClient(trust_env=False) as client:
        for key in ("a.png", "users/ü ~+&=/images/a b.png"):
            assert (await client.get(bucket.url(key, 60))).content == b"png"
        url = bucket.url("a.png", 60)
        for tampered in (
            url.replace("a.png", "b.png"),
            url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
            url[:-1] + ("0" if url[-1] != "0" else "1"),
        ):
            assert tampered != url
            assert (await client.get(tampered)).status_code == 403
        assert (await client.put(url, content=b"other")).status_code == 403
