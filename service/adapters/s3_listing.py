"""What lies in the bucket, whatever the database says: for the audit, which compares the two."""

from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from service.adapters.s3_calls import StorageLimits, call

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


async def list_keys(
    s3: "S3Client", limits: StorageLimits, bucket: str, *, prefix: str
) -> AsyncIterator[str]:
    """Every object's key, a page (of at most 1,000) at a time. Raises StorageFailed."""
    after: dict[str, Any] = {}
    while True:
        request = partial(s3.list_objects_v2, Bucket=bucket, Prefix=prefix, **after)
        page = await call(limits, "ListObjectsV2", request)
        for each in page.get("Contents", []):
            yield each["Key"]
        if not page.get("IsTruncated"):
            return
        after = {"ContinuationToken": page["NextContinuationToken"]}


async def list_uploads(
    s3: "S3Client", limits: StorageLimits, bucket: str, *, prefix: str
) -> list[tuple[str, str]]:
    """Key and upload id of every upload that was begun and neither completed nor aborted."""
    found: list[tuple[str, str]] = []
    after: dict[str, Any] = {}
    while True:
        request = partial(s3.list_multipart_uploads, Bucket=bucket, Prefix=prefix, **after)
        page = await call(limits, "ListMultipartUploads", request)
        found += [(each["Key"], each["UploadId"]) for each in page.get("Uploads", [])]
        if not page.get("IsTruncated"):
            return found
        after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
