"""The bucket: everything that the service asks of it, once, on keys of the doctor's own."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpx

from service.adapters.object_store import LIBRARY, BucketSettings, R2Bucket, open_client
from service.adapters.outbound import tls_context
from service.adapters.s3_calls import MIB, StorageFailed, StorageLimits
from service.adapters.s3_upload import NotWritten, Target, Uploader
from service.doctor.checks import Case, Verdict, fail, ok
from service.domain.errors import Transient
from service.wiring import bucket_settings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PREFIX: Final = "doctor/"
OWNER: Final = "doctor"  # in the place of a job
DEADLINE_S: Final = 120.0  # 10 MiB up and down again on a slow line
# R2 takes parts of 5 MiB or more, all but the last of one size.
PART_BYTES: Final = 5 * MIB
LIMITS: Final = StorageLimits(
    single_put_bytes=PART_BYTES,
    part_bytes=PART_BYTES,
    attempts=2,
    upload_timeout_s=60.0,
    call_timeout_s=10.0,
    read_back_timeout_s=60.0,
)
SMALL: Final = b"fal-video doctor"
LINK_S: Final = 300

_KEYS: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "Unauthorized"})


class Wrong(Exception):
    """A step of the round trip did not do what it must; says what to mend."""

    def __init__(self, seen: str, fix: str) -> None:
        self.fix = fix
        super().__init__(seen)


async def check_bucket(case: Case) -> Verdict:
    """Put, head, get, a conditional put that is refused, a link with Range, multipart, delete."""
    settings = bucket_settings(case.settings)
    async with open_client(settings, LIMITS) as s3:
        trip = RoundTrip(s3, settings)
        try:
            verdict = await _tried(trip)
        finally:
            left = await trip.clean()
    if left:
        fix = "delete them by hand, and give the token Object Read & Write on the bucket"
        return fail(f"{verdict.seen}; left behind: {', '.join(left)}", verdict.fix or fix)
    return verdict


async def check_public_address(case: Case) -> Verdict:
    """What the public address serves is what the bucket holds."""
    settings = bucket_settings(case.settings)
    if settings.public_base_url is None:
        return ok("none: videos are handed out by signed links")
    key = f"{PREFIX}{secrets.token_hex(8)}{LIBRARY}public.mp4"
    fix = "connect that domain to the bucket, or leave R2_PUBLIC_BASE_URL empty for signed links"
    async with open_client(settings, LIMITS) as s3:
        bucket = R2Bucket(s3, settings, LIMITS)
        try:
            await bucket.put_image(key, SMALL, "video/mp4")
            answer = await _get(bucket.url(key, LINK_S))
        except httpx.HTTPError as error:
            return fail(f"{settings.public_base_url}: {type(error).__name__}", fix)
        finally:
            await bucket.delete(key)
    if answer.status_code != HTTPStatus.OK or answer.content != SMALL:
        return fail(f"{settings.public_base_url} answers {answer.status_code}", fix)
    return ok(f"{settings.public_base_url} serves the bucket")


async def _tried(trip: "RoundTrip") -> Verdict:
    try:
        await trip.run()
    except StorageFailed as failure:
        return fail(f"{trip.step}: {failure.s3_code}", _fix(failure, trip.settings))
    except Wrong as wrong:
        return fail(f"{trip.step}: {wrong}", wrong.fix)
    except Transient as failure:
        return fail(f"{trip.step}: {failure}", "see whether a proxy changes what is sent")
    return ok(f"bucket {trip.settings.bucket}: does all that videos need, and is left clean")


@dataclass(slots=True)
class RoundTrip:
    """The steps, in order; `step` is the one that is under way."""

    s3: "S3Client"
    settings: BucketSettings
    step: str = "put"
    prefix: str = field(default_factory=lambda: f"{PREFIX}{secrets.token_hex(8)}")
    keys: list[str] = field(default_factory=list)

    @property
    def bucket(self) -> R2Bucket:
        return R2Bucket(self.s3, self.settings, LIMITS)

    async def run(self) -> None:
        """Raises Wrong, StorageFailed, and Transient where other bytes are stored than sent."""
        small = await self._put("small", SMALL)
        await self._read_back(small, SMALL)
        await self._is_written_once(small)
        await self._link(small)
        self.step = "multipart"
        large = secrets.token_bytes(1024) * (2 * LIMITS.part_bytes // 1024) + b"!"  # three parts
        await self._read_back(await self._put("large", large), large)
        self.step = "delete"
        await self.bucket.delete(small)
        if await self.bucket.find_video(small, OWNER) is not None:
            raise Wrong("what was deleted is still there", "take object locks off the bucket")

    async def clean(self) -> list[str]:
        """Remove what is there, whatever happened; the keys where that failed."""
        left = []
        for key in self.keys:
            try:
                await self.bucket.delete(key)
                await self.bucket.abort_leftovers(key)
            except Transient:
                left.append(key)
        return left

    async def _put(self, name: str, body: bytes) -> str:
        key = f"{self.prefix}/{name}"
        self.keys.append(key)
        try:
            await self._upload(key, body)
        except StorageFailed as failure:
            if failure.status is not None:  # refused: nothing is there that could be left
                self.keys.remove(key)
            raise
        return key

    async def _upload(self, key: str, body: bytes) -> None:
        target = Target(
            bucket=self.settings.bucket,
            key=key,
            job_id=OWNER,
            content_type="application/octet-stream",
            cache_control="no-store",
            content_disposition="attachment",
        )
        try:
            await Uploader(self.s3, LIMITS).upload(target, _chunks(body), len(body))
        except NotWritten as unconfirmed:
            raise unconfirmed.failure from None

    async def _read_back(self, key: str, body: bytes) -> None:
        step = self.step
        self.step = f"{step}, then head and get"
        stored = await self.bucket.find_video(key, OWNER)
        if stored is None:
            raise Wrong("what was stored is not there", "see whether a lifecycle rule deletes it")
        read = b"".join([chunk async for chunk in self.bucket.read(key)])
        if (stored.size, read) != (len(body), body):
            raise Wrong("other bytes come back than were sent", "see what changes them on the way")
        if stored.sha256 != hashlib.sha256(body).hexdigest():
            raise Wrong("the stored hash is another", "see what changes metadata on the way")

    async def _is_written_once(self, key: str) -> None:
        self.step = "put with If-None-Match"
        try:
            await self._upload(key, SMALL)
        except StorageFailed as failure:
            if failure.status == HTTPStatus.PRECONDITION_FAILED:
                return
            raise
        raise Wrong(
            "an object that was there has been overwritten",
            "use a store that honours If-None-Match: R2 does, some that stand in for it do not",
        )

    async def _link(self, key: str) -> None:
        self.step = "signed link with Range"
        fix = "see what stands between here and R2_ENDPOINT_URL: signed links have to work there"
        try:
            answer = await _get(self.bucket.url(key, LINK_S), {"Range": "bytes=4-8"})
        except httpx.HTTPError as error:
            raise Wrong(f"no answer: {type(error).__name__}", fix) from error
        if answer.status_code != HTTPStatus.PARTIAL_CONTENT or answer.content != SMALL[4:9]:
            raise Wrong(f"answered {answer.status_code} in place of 206 and five bytes", fix)


async def _get(url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async with httpx.AsyncClient(
        trust_env=False, verify=tls_context(), timeout=LIMITS.call_timeout_s
    ) as client:
        return await client.get(url, headers=headers)


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _fix(failure: StorageFailed, settings: BucketSettings) -> str:
    if failure.status is None:
        return "correct R2_ENDPOINT_URL, or open the way to it: it gives no answer"
    if failure.s3_code == "NoSuchBucket":
        return f"make the bucket {settings.bucket}, or correct R2_BUCKET"
    if failure.s3_code in _KEYS:
        return "correct R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY: the store does not know them"
    if failure.s3_code == "RequestTimeTooSkewed":
        return "set this machine's clock right"
    if failure.status == HTTPStatus.FORBIDDEN:
        return f"give the token Object Read & Write on the bucket {settings.bucket}"
    return "see the store's own words for that code"
