"""The stores that the bucket is tested on: how to look into each behind its back.

moto is quick and lists unfinished uploads; Cloudflare's simulator checks what R2 checks, and
wants parts of its size.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httpx
import pytest
from moto.s3.models import s3_backends

from service.adapters.object_store import BucketSettings, R2Bucket
from service.adapters.s3_calls import StorageLimits
from service.ports import StoredObject
from tests.r2.simulator import Simulator
from tests.transfer.samples import MIB, mp4
from tests.transfer.servers import S3FaultProxy

KEY: Final = "users/0123/library/job-1.mp4"
BUCKET: Final = "transfers"
# What moto is told to take, so that multipart is not megabytes there.
PART_BYTES: Final = 256 * 1024
R2_PART_BYTES: Final = 5 * MIB

# Small parts, and waits that a test can afford.
STORAGE: Final = StorageLimits(
    single_put_bytes=PART_BYTES,
    part_bytes=PART_BYTES,
    attempts=3,
    retry_pause_s=0.001,
    upload_timeout_s=6,
    call_timeout_s=6,
    abort_timeout_s=6,
)
# The same, with what the simulator wants: parts as large as R2's, and time to take them.
R2_STORAGE: Final = StorageLimits(
    single_put_bytes=R2_PART_BYTES,
    part_bytes=R2_PART_BYTES,
    attempts=3,
    retry_pause_s=0.001,
    upload_timeout_s=20,
    call_timeout_s=10,
    abort_timeout_s=10,
)

# One request, and three parts.
BODIES: Final = {
    "moto": {"empty": b"", "small": mp4(200 * 1024), "large": mp4(700 * 1024)},
    "simulator": {"small": mp4(200 * 1024), "large": mp4(2 * R2_PART_BYTES + 100 * 1024)},
}

on_both = pytest.mark.parametrize("store_kind", ["moto", "simulator"], indirect=True)
of_both_sizes = pytest.mark.parametrize("size", ["small", "large"])


class Store(Protocol):
    """What is really in the bucket, and the proxy through which it is reached."""

    @property
    def proxy(self) -> S3FaultProxy: ...

    @property
    def settings(self) -> BucketSettings: ...

    @property
    def limits(self) -> StorageLimits: ...

    @property
    def unfinished(self) -> int:
        """Uploads, or parts of uploads, that are there and belong to no object."""
        ...

    def body(self, size: str) -> bytes:
        """A "small" video, which is one request, or a "large" one, of three parts."""
        ...

    def object(self, key: str = KEY) -> bytes | None: ...

    def metadata(self, key: str = KEY) -> dict[str, str]: ...

    async def clear(self) -> None:
        """Empty the bucket, and forget the proxy's faults and log."""
        ...


@dataclass(frozen=True, slots=True)
class MotoStore:
    """Read from moto's memory."""

    proxy: S3FaultProxy
    settings: BucketSettings
    limits: StorageLimits = STORAGE

    @property
    def _bucket(self) -> Any:
        return s3_backends["123456789012"]["aws"].buckets[BUCKET]

    @property
    def unfinished(self) -> int:
        return len(self._bucket.multiparts)

    def body(self, size: str) -> bytes:
        return BODIES["moto"][size]

    def object(self, key: str = KEY) -> bytes | None:
        stored = self._bucket.keys.get(key)
        return None if stored is None else bytes(stored.value)

    def metadata(self, key: str = KEY) -> dict[str, str]:
        stored = self._bucket.keys[key].metadata
        prefix = "x-amz-meta-"
        return {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}

    async def clear(self) -> None:
        self._bucket.keys.clear()
        self._bucket.multiparts.clear()
        self.proxy.forget()


@dataclass(frozen=True, slots=True)
class SimulatorStore:
    """Read from the simulator's folder."""

    proxy: S3FaultProxy
    simulator: Simulator
    admin: R2Bucket  # past the proxy
    limits: StorageLimits = R2_STORAGE

    @property
    def settings(self) -> BucketSettings:
        return self.simulator.settings(
            f"http://127.0.0.1:{self.proxy.port}{self.simulator.path}",
        )

    @property
    def unfinished(self) -> int:
        return len(self.simulator.unfinished()) + self.simulator.loose_parts()

    def body(self, size: str) -> bytes:
        return BODIES["simulator"][size]

    def object(self, key: str = KEY) -> bytes | None:
        return self.simulator.stored(key)

    def metadata(self, key: str = KEY) -> dict[str, str]:
        return self.simulator.metadata(key)

    async def clear(self) -> None:
        self.proxy.forget()
        for key in self.simulator.all_keys():
            await self.admin.delete(key)
        for key, upload_id in self.simulator.unfinished():
            await self.admin._s3.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload_id)


def create_in_moto(port: int) -> None:
    created = httpx.put(
        f"http://127.0.0.1:{port}/{BUCKET}",
        content="<CreateBucketConfiguration>"
        "<LocationConstraint>auto</LocationConstraint></CreateBucketConfiguration>",
        headers={
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKTEST/20260101/auto/s3/aws4_request"
        },
        trust_env=False,
    )
    created.raise_for_status()


def assert_stored(store: Store, stored: StoredObject, body: bytes) -> None:
    assert stored.key == KEY
    assert (stored.size, stored.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert store.object() == body
    assert store.unfinished == 0


def assert_nothing_left(store: Store) -> None:
    assert store.object() is None
    assert store.unfinished == 0
