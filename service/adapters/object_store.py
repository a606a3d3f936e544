"""The object store: Cloudflare R2, or anything else that speaks S3, behind ports.Bucket."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.handlers import add_expect_header
from botocore.loaders import Loader, create_loader

from service.adapters.s3_calls import MIB, StorageFailed, StorageLimits, call
from service.adapters.s3_listing import list_keys, list_uploads
from service.adapters.s3_upload import NotWritten, Target, Uploader, Written, abort
from service.domain.errors import ObjectConflict
from service.ports import Download, StoredObject

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

VIDEO_TYPE: Final = "video/mp4"
# An object never changes: it may stay in the owner's browser, and in no shared cache.
CACHE_CONTROL: Final = "private, max-age=31536000, immutable"
# Finished videos and their thumbnails; nothing else is ever served from the public address.
LIBRARY: Final = "/library/"
OWNERS: Final = "users/"  # every key of ours begins so
LONGEST_SIGNATURE_S: Final = 7 * 24 * 3600  # SigV4's own limit


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketSettings:
    """Which bucket, and as whom."""

    endpoint_url: str
    bucket: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str = "auto"  # R2's only region
    public_base_url: str | None = None


@asynccontextmanager
async def open_bucket(
    settings: BucketSettings, limits: StorageLimits | None = None
) -> AsyncIterator["R2Bucket"]:
    """The bucket for the life of the application: one client and one pool, made once.

    Connects to nothing yet; `check` proves that the bucket is there.
    """
    limits = limits or StorageLimits()
    async with open_client(settings, limits) as s3:
        yield R2Bucket(s3, settings, limits)


@asynccontextmanager
async def open_client(settings: BucketSettings, limits: StorageLimits) -> AsyncIterator["S3Client"]:
    """The client below the bucket, which knows what R2 takes and what it does not."""
    parts = AioSession()
    parts.register_component("data_loader", _service_models())
    session = aioboto3.Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        region_name=settings.region,
        botocore_session=parts,
    )
    async with AsyncExitStack() as stack:
        s3 = await stack.enter_async_context(
            session.client(
                "s3", endpoint_url=settings.endpoint_url, config=_config(settings, limits)
            )
        )
        # R2 knows no 100-continue, and aiohttp waits for it without a timeout.
        s3.meta.events.unregister("before-call.s3", add_expect_header)
        yield s3


@cache
def _service_models() -> Loader:
    """botocore's descriptions of S3, a third of a second to read: once per process."""
    return create_loader()


def _config(settings: BucketSettings, limits: StorageLimits) -> AioConfig:
    return AioConfig(
        signature_version="s3v4",
        s3={
            "addressing_style": "path",
            # TLS and Content-MD5 protect the bytes; hashing them for the signature as well costs
            # a quarter of the throughput. Without TLS the signature is all there is.
            "payload_signing_enabled": not settings.endpoint_url.startswith("https://"),
        },
        # R2 refuses the checksum trailers that are botocore's default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # `s3_calls.call` is the one place that retries: no mode of botocore knows R2's errors.
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=limits.call_timeout_s,
        max_pool_connections=limits.connections,
        tcp_keepalive=True,
    )


class _Present(Exception):
    """The job's object is there already."""

    def __init__(self, stored: StoredObject) -> None:
        self.stored = stored
        super().__init__(stored.key)


class R2Bucket:
    """ports.Bucket. All failures of the store are Transient: see s3_calls.StorageFailed."""

    def __init__(self, s3: "S3Client", settings: BucketSettings, limits: StorageLimits) -> None:
        self._s3 = s3
        self._settings = settings
        self._bucket = settings.bucket
        self._limits = limits
        self._uploader = Uploader(s3, limits)
        self._credentials = Credentials(settings.access_key_id, settings.secret_access_key)

    async def put_image(self, key: str, data: bytes, content_type: str) -> None:
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        await call(
            self._limits,
            "PutObject",
            lambda: self._s3.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=data,
                ContentMD5=base64.b64encode(digest).decode("ascii"),
                ContentType=content_type,
                CacheControl=CACHE_CONTROL,
                Metadata={"sha256": hashlib.sha256(data).hexdigest()},
            ),
            timeout_s=self._limits.upload_timeout_s,
        )

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """As ports.Bucket says. What broke off is not resumed: the reader may begin again."""
        answer = await call(
            self._limits,
            "GetObject",
            lambda: self._s3.get_object(Bucket=self._bucket, Key=key),
        )
        body, once = answer["Body"], replace(self._limits, attempts=1)
        async with body:
            while chunk := await call(once, "GetObject", lambda: body.read(MIB)):
                yield chunk

    async def put_video(self, key: str, job_id: str, download: Download) -> StoredObject:
        target = Target(
            bucket=self._bucket,
            key=key,
            job_id=job_id,
            content_type=VIDEO_TYPE,
            cache_control=CACHE_CONTROL,
            content_disposition=f'attachment; filename="{job_id}.mp4"',
        )
        # Side by side with the download, whose end is later: asking first would delay every video,
        # and whoever has been silent for a while needs a new connection to the store anyway.
        looking = asyncio.create_task(self._check_absent(key, job_id))
        try:
            written = await self._uploader.upload(
                target, download.chunks(), download.size, allowed=looking
            )
        except _Present as present:
            return present.stored
        except NotWritten as unconfirmed:
            found = await self._find(key, job_id, unconfirmed.written)
            if found is None:
                raise unconfirmed.failure from None
            return found
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        return StoredObject(key=key, size=written.size, sha256=written.sha256)

    async def _check_absent(self, key: str, job_id: str) -> None:
        """Raises _Present for an object that this job wrote, or ObjectConflict."""
        if existing := await self.find_video(key, job_id):
            raise _Present(existing)

    async def find_video(self, key: str, job_id: str) -> StoredObject | None:
        """As ports.Bucket says. A multipart object is read back: its metadata knows no hash."""
        return await self._find(key, job_id, None)

    async def _find(self, key: str, job_id: str, sent: Written | None) -> StoredObject | None:
        """The object this job wrote; `sent`, if it proves to be that one, spares reading it."""
        try:
            head = await call(
                self._limits,
                "HeadObject",
                lambda: self._s3.head_object(Bucket=self._bucket, Key=key),
            )
        except StorageFailed as failure:
            if failure.status == HTTPStatus.NOT_FOUND:  # HEAD has no body to name a code in
                return None
            raise
        if head["Metadata"].get("job") != job_id:
            raise ObjectConflict(f"the object {key} was not written by job {job_id}")
        sha256 = head["Metadata"].get("sha256")
        if sha256 is None and sent is not None and head["ETag"].strip('"') == sent.etag:
            sha256 = sent.sha256
        if sha256 is None:
            sha256 = await self._read_back(key)
        return StoredObject(key=key, size=head["ContentLength"], sha256=sha256, reused=True)

    async def _read_back(self, key: str) -> str:
        """The hash of what is stored. A repeat, or a retry, reads from the start."""
        return await call(
            self._limits,
            "GetObject",
            lambda: self._hash_stored(key),
            timeout_s=self._limits.read_back_timeout_s,
        )

    async def _hash_stored(self, key: str) -> str:
        answer = await self._s3.get_object(Bucket=self._bucket, Key=key)
        sha256, body = hashlib.sha256(), answer["Body"]
        async with body:  # what it hands out is not itself but aiohttp's, which reads all at once
            while chunk := await body.read(MIB):
                sha256.update(chunk)
        return sha256.hexdigest()

    async def abort_leftovers(self, key: str) -> int:
        """As ports.Bucket says; 0 from a store that cannot list uploads (R2's simulator)."""
        try:
            uploads = await list_uploads(self._s3, self._limits, self._bucket, prefix=key)
        except StorageFailed as failure:
            if failure.status == HTTPStatus.NOT_IMPLEMENTED:
                return 0
            raise
        leftovers = [upload_id for name, upload_id in uploads if name == key]
        for upload_id in leftovers:
            await abort(self._s3, self._limits, self._bucket, key, upload_id)
        return len(leftovers)

    def library(self) -> AsyncIterator[str]:
        """As ports.Bucket says."""
        keys = list_keys(self._s3, self._limits, self._bucket, prefix=OWNERS)
        return (key async for key in keys if LIBRARY in key)

    async def unfinished_uploads(self) -> list[str]:
        """As ports.Bucket says. R2's simulator cannot list them and answers 501."""
        uploads = await list_uploads(self._s3, self._limits, self._bucket, prefix=OWNERS)
        return [key for key, _ in uploads]

    async def delete(self, key: str) -> None:
        await call(
            self._limits,
            "DeleteObject",
            lambda: self._s3.delete_object(Bucket=self._bucket, Key=key),
        )

    def url(self, key: str, expires_in_s: int) -> str:
        """The public address of a library object, if there is one; else a signed one.

        Signed here with botocore's own signer: the client's `generate_presigned_url` is a
        coroutine under aiobotocore, though there is nothing in it to wait for.
        """
        path = quote(key, safe="/~")
        if self._settings.public_base_url is not None and LIBRARY in key:
            return f"{self._settings.public_base_url.rstrip('/')}/{path}"
        assert 0 < expires_in_s <= LONGEST_SIGNATURE_S, "a signature lasts a week at most"
        endpoint = self._settings.endpoint_url.rstrip("/")
        request = AWSRequest(method="GET", url=f"{endpoint}/{quote(self._bucket)}/{path}")
        signer = S3SigV4QueryAuth(
            self._credentials, "s3", self._settings.region, expires=expires_in_s
        )
        signer.add_auth(request)
        return str(request.url)

    async def check(self) -> None:
        """As ports.Bucket says. Raises StorageRefused when key or bucket are not accepted."""
        await call(self._limits, "HeadBucket", lambda: self._s3.head_bucket(Bucket=self._bucket))
