import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from moto.server import ThreadedMotoServer

from service.adapters.object_store import BucketSettings, R2Bucket, open_bucket
from service.adapters.outbound import DownloadLimits, OutboundPolicy, guarded_client
from service.adapters.video_source import HttpVideoSource
from tests.loops import share_loop
from tests.r2.simulator import Simulator, simulator
from tests.transfer.samples import MIB
from tests.transfer.servers import FaultCdn, S3FaultProxy, ServerThread
from tests.transfer.stores import (
    BUCKET,
    PART_BYTES,
    R2_STORAGE,
    MotoStore,
    SimulatorStore,
    Store,
    create_in_moto,
)

__all__ = ["simulator"]  # a fixture, and none of this directory alone

DOWNLOADS = DownloadLimits(
    max_bytes=8 * MIB,
    connect_timeout_s=2,
    min_bytes_per_s=256 * 1024,
    total_timeout_s=20,
    max_reconnects=3,
    reconnect_pause_s=0.001,
    read_directly_from_bytes=MIB,
)
# Only for a sender that falls silent: a busy machine is slow too.
IMPATIENT = replace(DOWNLOADS, answer_timeout_s=0.5, idle_timeout_s=0.3, rate_window_s=0.2)
# With too few bytes alone: a machine that stands still for a moment is not silence.
HASTY = replace(IMPATIENT, answer_timeout_s=10, idle_timeout_s=10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as one client serves all of its tests."""
    share_loop(items, Path(__file__).parent, "session")


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.stop()


@pytest.fixture(scope="session")
def cdn(servers: ServerThread) -> FaultCdn:
    fault_cdn = FaultCdn()
    fault_cdn.port = servers.listen(fault_cdn.serve)
    return fault_cdn


@pytest.fixture
def store_kind(request: pytest.FixtureRequest) -> str:
    """ "moto", unless the test asks for both: `@on_both`."""
    return str(getattr(request, "param", "moto"))


@pytest.fixture(scope="session")
def moto_store(servers: ServerThread) -> Iterator[MotoStore]:
    with moto() as port:
        create_in_moto(port)
        proxy = S3FaultProxy(port, one_at_a_time=True)
        proxy.port = servers.listen(proxy.serve)
        settings = BucketSettings(
            endpoint_url=f"http://127.0.0.1:{proxy.port}",
            bucket=BUCKET,
            access_key_id="AKTEST",
            secret_access_key="SKTEST",
        )
        yield MotoStore(proxy, settings)


@contextmanager
def moto() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", PART_BYTES)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        yield server.get_host_and_port()[1]
        server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def simulator_store(
    servers: ServerThread, simulator: Simulator
) -> AsyncIterator[SimulatorStore]:
    proxy = S3FaultProxy(simulator.port, path=simulator.path)
    proxy.port = servers.listen(proxy.serve)
    async with open_bucket(simulator.settings(), R2_STORAGE) as admin:
        yield SimulatorStore(proxy, simulator, admin)


# As in the application, one client for all: making one costs more than most tests.
@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def moto_bucket(moto_store: MotoStore) -> AsyncIterator[R2Bucket]:
    async with open_bucket(moto_store.settings, moto_store.limits) as bucket:
        yield bucket


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def simulator_bucket(simulator_store: SimulatorStore) -> AsyncIterator[R2Bucket]:
    async with open_bucket(simulator_store.settings, simulator_store.limits) as bucket:
        yield bucket


@pytest.fixture
def chosen_store(request: pytest.FixtureRequest, store_kind: str) -> Store:
    chosen: Store = request.getfixturevalue(f"{store_kind}_store")
    return chosen


@pytest_asyncio.fixture(loop_scope="session")
async def store(chosen_store: Store) -> AsyncIterator[Store]:
    """An empty bucket. The faults of the proxy and its log are empty too."""
    await chosen_store.clear()
    yield chosen_store
    chosen_store.proxy.forget()


@pytest.fixture
def bucket(request: pytest.FixtureRequest, store_kind: str, store: Store) -> R2Bucket:
    chosen: R2Bucket = request.getfixturevalue(f"{store_kind}_bucket")
    return chosen


@pytest.fixture
def small(store: Store) -> bytes:
    return store.body("small")


@pytest.fixture
def large(store: Store) -> bytes:
    return store.body("large")


@pytest.fixture
def body(store: Store, size: str) -> bytes:
    return store.body(size)


@asynccontextmanager
async def _source(limits: DownloadLimits) -> AsyncIterator[HttpVideoSource]:
    policy = OutboundPolicy(allowed_hosts=("fal.media",), development=True)
    async with guarded_client(policy, limits) as client:
        yield HttpVideoSource(client, policy, limits)


@pytest_asyncio.fixture(loop_scope="session")
async def source() -> AsyncIterator[HttpVideoSource]:
    async with _source(DOWNLOADS) as source:
        yield source


@pytest_asyncio.fixture(loop_scope="session")
async def layered_source() -> AsyncIterator[HttpVideoSource]:
    """It reads whole bodies through HTTP's layers, however long they are."""
    async with _source(replace(DOWNLOADS, read_directly_from_bytes=2**40)) as source:
        yield source


@pytest_asyncio.fixture(loop_scope="session")
async def impatient_source() -> AsyncIterator[HttpVideoSource]:
    async with _source(IMPATIENT) as source:
        yield source


@pytest_asyncio.fixture(loop_scope="session")
async def hasty_source() -> AsyncIterator[HttpVideoSource]:
    async with _source(HASTY) as source:
        yield source


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(10):  # closing transports and generators takes a few turns of the loop
        await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}
