import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from service.adapters.object_store import BucketSettings, R2Bucket, open_bucket
from service.adapters.outbound import DownloadLimits, OutboundPolicy, guarded_client
from service.adapters.s3_calls import StorageLimits
from service.adapters.video_source import HttpVideoSource
from tests.transfer.samples import MIB
from tests.transfer.servers import FaultCdn, S3FaultProxy, ServerThread

KEY = "users/0123/library/job-1.mp4"

DOWNLOADS = DownloadLimits(
    max_bytes=8 * MIB,
    connect_timeout_s=2,
    answer_timeout_s=0.5,
    idle_timeout_s=0.3,
    min_bytes_per_s=256 * 1024,
    rate_window_s=0.2,
    total_timeout_s=20,
    max_reconnects=3,
    reconnect_pause_s=0.001,
)
# The store under test takes parts this small, so that multipart is not megabytes.
PART_BYTES = 256 * 1024
# Small parts, and waits that a test can afford.
STORAGE = StorageLimits(
    single_put_bytes=PART_BYTES,
    part_bytes=PART_BYTES,
    attempts=3,
    retry_pause_s=0.001,
    upload_timeout_s=5,
    call_timeout_s=2,
    abort_timeout_s=2,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as one client serves all of its tests."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.stop()


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", PART_BYTES)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()
    monkeypatch.undo()


@pytest.fixture(scope="session")
def cdn(servers: ServerThread) -> FaultCdn:
    fault_cdn = FaultCdn()
    fault_cdn.port = servers.listen(fault_cdn.serve)
    return fault_cdn


@pytest.fixture(scope="session")
def s3_proxy(servers: ServerThread, moto_port: int) -> S3FaultProxy:
    proxy = S3FaultProxy(moto_port)
    proxy.port = servers.listen(proxy.serve)
    return proxy


@dataclass
class Store:
    """What is really in the bucket, read from moto's memory."""

    proxy: S3FaultProxy
    settings: BucketSettings

    @property
    def _bucket(self) -> Any:
        return s3_backends["123456789012"]["aws"].buckets[self.settings.bucket]

    def object(self, key: str = KEY) -> bytes | None:
        stored = self._bucket.keys.get(key)
        return None if stored is None else bytes(stored.value)

    def facts(self, key: str = KEY) -> Any:
        return self._bucket.keys[key]

    def clear(self) -> None:
        self._bucket.keys.clear()
        self._bucket.multiparts.clear()
        self.proxy.faults.clear()
        self.proxy.log.clear()

    @property
    def unfinished(self) -> int:
        return len(self._bucket.multiparts)


@pytest.fixture(scope="session")
def store_settings(s3_proxy: S3FaultProxy, moto_port: int) -> BucketSettings:
    created = httpx.put(
        f"http://127.0.0.1:{moto_port}/transfers",
        content="<CreateBucketConfiguration>"
        "<LocationConstraint>auto</LocationConstraint></CreateBucketConfiguration>",
        headers={
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKTEST/20260101/auto/s3/aws4_request"
        },
        trust_env=False,
    )
    created.raise_for_status()
    return BucketSettings(
        endpoint_url=f"http://127.0.0.1:{s3_proxy.port}",
        bucket="transfers",
        access_key_id="AKTEST",
        secret_access_key="SKTEST",
    )


@pytest.fixture
def store(store_settings: BucketSettings, s3_proxy: S3FaultProxy) -> Store:
    """An empty bucket. The faults of the proxy and its log are empty too."""
    emptied = Store(s3_proxy, store_settings)
    emptied.clear()
    return emptied


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def opened(store_settings: BucketSettings) -> AsyncIterator[R2Bucket]:
    """As in the application: one client for all. Making one costs more than most tests."""
    async with open_bucket(store_settings, STORAGE) as bucket:
        yield bucket


@pytest.fixture
def bucket(opened: R2Bucket, store: Store) -> R2Bucket:
    return opened


@pytest_asyncio.fixture(loop_scope="session")
async def source() -> AsyncIterator[HttpVideoSource]:
    policy = OutboundPolicy(allowed_hosts=("fal.media",), development=True)
    async with guarded_client(policy, DOWNLOADS) as client:
        yield HttpVideoSource(client, policy, DOWNLOADS)


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(10):  # closing transports and generators takes a few turns of the loop
        await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}
