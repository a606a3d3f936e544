"""Streams chunks into one write-once object, in constant memory, and says what it wrote.

Not boto's `upload_fileobj`: on a slow link that queues hundreds of MiB, its parts are of unequal
size (R2 refuses them), and cancelling it leaves tasks and an unfinished upload behind.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from service.adapters.s3_calls import StorageFailed, StorageLimits, call
from service.adapters.s3_parts import Hashers, Part, PartReader, content_md5
from service.domain.errors import Transient

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where an upload goes, and as what."""

    bucket: str
    key: str
    job_id: str
    content_type: str
    cache_control: str
    content_disposition: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What was sent; `etag` is what the store must name it if it holds the same bytes."""

    size: int
    sha256: str
    etag: str


class NotWritten(Exception):
    """The store did not confirm. Perhaps it wrote, or somebody else had: the object decides."""

    def __init__(self, failure: StorageFailed, written: Written) -> None:
        self.failure = failure
        self.written = written
        super().__init__(str(failure))


class Uploader:
    """Writes objects that do not exist yet; one that does is never overwritten."""

    def __init__(self, s3: "S3Client", limits: StorageLimits) -> None:
        self._s3 = s3
        self._limits = limits
        self._hashers = Hashers()

    async def upload(
        self,
        target: Target,
        chunks: AsyncIterator[bytes],
        size: int | None,
        *,
        allowed: Awaitable[None] | None = None,
    ) -> Written:
        """Store the stream. Nothing is sent before two parts, or all of it, have been read.

        Nor before `allowed` has been waited for, whose error ends it. Raises NotWritten when the
        store does not confirm the last step, StorageFailed when it fails before that, and what
        `chunks` raises; then no object and no unfinished upload of ours is left (if even aborting
        fails, the error says so in a note).
        """
        small = size is not None and size <= self._limits.single_put_bytes
        part_bytes = self._limits.single_put_bytes if small else self._limits.part_bytes
        with self._hashers.reading(chunks, part_bytes) as reader:
            head = await reader.head()
            if allowed is not None:
                await allowed
            if len(head) > 1:
                return await _Multipart(self._s3, self._limits, target).upload(head, reader, size)
            _check_total(reader, size)
            return await self._put_whole(target, head[0], await reader.sha256())

    async def _put_whole(self, target: Target, part: Part, sha256: str) -> Written:
        md5 = await part.md5
        written = Written(size=part.size, sha256=sha256, etag=md5.hex())
        try:
            answer = await call(
                self._limits,
                "PutObject",
                lambda: self._s3.put_object(
                    Bucket=target.bucket,
                    Key=target.key,
                    Body=part.body(),
                    ContentMD5=content_md5(md5),
                    ContentType=target.content_type,
                    CacheControl=target.cache_control,
                    ContentDisposition=target.content_disposition,
                    Metadata={"job": target.job_id, "sha256": sha256},
                    IfNoneMatch="*",
                ),
                timeout_s=self._limits.upload_timeout_s,
            )
        except StorageFailed as failure:
            raise NotWritten(failure, written) from failure
        await _check_etag(self._s3, self._limits, target, written, answer["ETag"])
        return written


class _Multipart:
    """One multipart upload: created, filled by a few parts at once, completed or aborted."""

    def __init__(self, s3: "S3Client", limits: StorageLimits, target: Target) -> None:
        self._s3 = s3
        self._limits = limits
        self._target = target
        self._upload_id = ""
        self._sent: dict[int, bytes] = {}
        self._etags: dict[int, str] = {}

    async def upload(self, head: list[Part], reader: PartReader, size: int | None) -> Written:
        self._upload_id = await self._create()
        try:
            await self._send_parts(head, reader)
            _check_total(reader, size)
            return await self._complete(reader)
        except BaseException as error:
            await despite_cancellation(self._abort(error))
            raise

    async def _create(self) -> str:
        # The hash is not known yet and metadata is fixed here: `find_video` has to read it back.
        # Sent once: a repeat after a lost answer would leave an upload whose id nobody knows.
        answer = await call(
            replace(self._limits, attempts=1),
            "CreateMultipartUpload",
            lambda: self._s3.create_multipart_upload(
                Bucket=self._target.bucket,
                Key=self._target.key,
                ContentType=self._target.content_type,
                CacheControl=self._target.cache_control,
                ContentDisposition=self._target.content_disposition,
                Metadata={"job": self._target.job_id},
            ),
        )
        return answer["UploadId"]

    async def _send_parts(self, head: list[Part], reader: PartReader) -> None:
        """Read and send side by side; the first failure ends the reading and the other parts."""
        free = asyncio.Semaphore(self._limits.parts_at_once)
        try:
            async with asyncio.TaskGroup() as sending:
                number = 0
                while True:
                    # A place first, then the part: no more parts in memory than are being sent.
                    await free.acquire()
                    part = head.pop(0) if head else await reader.next()
                    if part is None:
                        break
                    number += 1
                    sending.create_task(self._send_part(number, part, free))
                    del part
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _send_part(self, number: int, part: Part, free: asyncio.Semaphore) -> None:
        md5 = await part.md5
        answer = await call(
            self._limits,
            "UploadPart",
            lambda: self._s3.upload_part(
                Bucket=self._target.bucket,
                Key=self._target.key,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=part.body(),
                ContentMD5=content_md5(md5),
            ),
            timeout_s=self._limits.upload_timeout_s,
        )
        self._sent[number] = md5
        self._etags[number] = answer["ETag"]
        free.release()

    async def _complete(self, reader: PartReader) -> Written:
        digests = b"".join(self._sent[number] for number in sorted(self._sent))
        etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(self._sent)}"
        written = Written(size=reader.size, sha256=await reader.sha256(), etag=etag)
        try:
            answer = await call(
                self._limits,
                "CompleteMultipartUpload",
                lambda: self._s3.complete_multipart_upload(
                    Bucket=self._target.bucket,
                    Key=self._target.key,
                    UploadId=self._upload_id,
                    IfNoneMatch="*",
                    MultipartUpload={
                        "Parts": [
                            {"PartNumber": number, "ETag": self._etags[number]}
                            for number in sorted(self._etags)
                        ]
                    },
                ),
                timeout_s=self._limits.upload_timeout_s,
            )
        except StorageFailed as failure:
            raise NotWritten(failure, written) from failure
        await _check_etag(self._s3, self._limits, self._target, written, answer["ETag"])
        return written

    async def _abort(self, error: BaseException) -> None:
        """Abort; a failure to is noted on `error`, the one that matters and is being raised."""
        target = self._target
        try:
            async with asyncio.timeout(self._limits.abort_timeout_s):
                await abort(self._s3, self._limits, target.bucket, target.key, self._upload_id)
        except (StorageFailed, TimeoutError) as failure:
            error.add_note(f"and the upload is left to abort_leftovers: {failure!r}")


async def abort(
    s3: "S3Client", limits: StorageLimits, bucket: str, key: str, upload_id: str
) -> None:
    """End an unfinished upload; one that is gone already is fine."""
    try:
        await call(
            limits,
            "AbortMultipartUpload",
            lambda: s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id),
        )
    except StorageFailed as failure:
        if failure.s3_code != "NoSuchUpload":
            raise


async def despite_cancellation(work: Coroutine[Any, Any, None]) -> None:
    """Let `work` finish even if we are cancelled meanwhile; the cancellation follows then."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _check_etag(
    s3: "S3Client", limits: StorageLimits, target: Target, written: Written, etag: str
) -> None:
    """Take an object that is not what we sent away again. It is ours: the write was conditional."""
    if etag.strip('"') != written.etag:
        await call(
            limits, "DeleteObject", lambda: s3.delete_object(Bucket=target.bucket, Key=target.key)
        )
        raise Transient("the store holds other bytes than were sent")


def _check_total(reader: PartReader, size: int | None) -> None:
    if size is not None and reader.size != size:
        raise Transient(f"the download ended after {reader.size} of {size} bytes")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that came first; what it cancelled adds nothing."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
