"""What the audit learns from the bucket's own index."""

from collections.abc import Iterator

import pytest
from moto.s3.models import s3_backends

from service.adapters.object_store import R2Bucket
from service.adapters.s3_calls import StorageFailed
from tests.transfer.samples import Bytes
from tests.transfer.stores import BUCKET, KEY, Store, on_both

PAGE = 1000  # entries that S3 lists at once, at most


@on_both
async def test_library_objects_are_listed_and_nothing_else(
    bucket: R2Bucket, store: Store, small: bytes
) -> None:
    await bucket.put_video(KEY, "job-1", Bytes(small))
    await bucket.put_image("users/0123/start/job-1.png", b"png", "image/png")
    await bucket.put_image("elsewhere/library/job-2.mp4", b"?", "video/mp4")
    assert [key async for key in bucket.library()] == [KEY]


async def test_a_listing_goes_on_after_its_first_page(bucket: R2Bucket, store: Store) -> None:
    moto = s3_backends["123456789012"]["aws"]
    keys = [f"users/0/library/{number:04}.mp4" for number in range(PAGE + 2)]
    for key in keys:
        moto.put_object(BUCKET, key, b"")
    assert [key async for key in bucket.library()] == keys
    assert store.proxy.sent("^GET .*list-type=2") == 2


@pytest.fixture
def cut_short(bucket: R2Bucket) -> Iterator[None]:
    """moto lists all uploads at once, so its first answer is made to say that there are more."""

    def cut(parsed: dict[str, object], **_: object) -> None:
        more = {"IsTruncated": True, "NextKeyMarker": "a", "NextUploadIdMarker": "b"}
        parsed.update(more)
        bucket._s3.meta.events.unregister("after-call.s3.ListMultipartUploads", cut)

    bucket._s3.meta.events.register("after-call.s3.ListMultipartUploads", cut)
    yield
    bucket._s3.meta.events.unregister("after-call.s3.ListMultipartUploads", cut)


async def test_a_listing_of_uploads_goes_on_where_the_last_page_ended(
    bucket: R2Bucket, store: Store, cut_short: None
) -> None:
    await bucket._s3.create_multipart_upload(Bucket=BUCKET, Key=KEY)
    assert await bucket.unfinished_uploads() == [KEY, KEY]
    assert store.proxy.sent("^GET .*uploads") == 2
    assert store.proxy.sent("^GET .*key-marker=a.*upload-id-marker=b") == 1


@pytest.mark.parametrize("store_kind", ["simulator"], indirect=True)
async def test_a_store_that_cannot_list_uploads_says_so_to_the_audit(
    bucket: R2Bucket, store: Store
) -> None:
    with pytest.raises(StorageFailed) as refused:
        await bucket.unfinished_uploads()
    assert refused.value.status == 501
