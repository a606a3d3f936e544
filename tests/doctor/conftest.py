"""A whole configuration that works, once for this folder: service, database server, proxies."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from service.adapters.store import SurrealStore
from service.adapters.surreal import Database
from service.doctor import storage
from service.sandbox.object_store import ObjectStore
from service.wiring import prepare
from tests.doctor.proxies import running_proxies
from tests.engine.server import Engine, shared_engine
from tests.loops import share_loop
from tests.transfer.servers import S3FaultProxy, ServerThread
from tests.world import TINY, World, environment, open_world

PART_BYTES = 64 * 1024
SANDBOX = replace(TINY, fal_key="the-id:the-secret-of-the-fal-key", bucket="doctor")


@dataclass(frozen=True, kw_only=True)
class Place:
    """The running service, the settings that lead to it, and proxies by their mistakes."""

    world: World
    engine: Engine
    environment: dict[str, str]
    proxies: dict[str, str]
    bucket_way: S3FaultProxy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as one service serves most of its tests."""
    share_loop(items, Path(__file__).parent)


@pytest.fixture(scope="package", autouse=True)
def _small_parts() -> Iterator[None]:
    """Parts that do not take megabytes. R2's own size is tried on its simulator."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", PART_BYTES)
        limits = replace(storage.LIMITS, single_put_bytes=PART_BYTES, part_bytes=PART_BYTES)
        limits = replace(limits, retry_pause_s=0.01)
        patch.setattr(storage, "LIMITS", limits)
        yield


@pytest.fixture(scope="package")
def bucket_way(s3: ObjectStore) -> Iterator[S3FaultProxy]:
    """Between the doctor and the store, which can be made to refuse there."""
    thread = ServerThread()
    proxy = S3FaultProxy(int(urlsplit(s3.url).port or 0))
    proxy.port = thread.listen(proxy.serve)
    yield proxy
    thread.stop()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def place(
    s3: ObjectStore, bucket_way: S3FaultProxy, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    engine = shared_engine()
    home = engine.settings()
    database = Database(home)
    await prepare(SurrealStore(database), report=lambda _: None)
    await database.close()
    here = engine.environment(home.database)
    async with open_world(s3, here, sandbox=SANDBOX) as world:
        await world.grant(100)
        await world.until(await world.submit(), "completed")
        port = world.settings.port
        async with running_proxies(tmp_path_factory.mktemp("nginx"), port) as proxies:
            yield Place(
                world=world,
                engine=engine,
                environment=environment(
                    world.sandbox,
                    port,
                    **here,
                    R2_ENDPOINT_URL=f"http://127.0.0.1:{bucket_way.port}",
                    OPS_TOKEN="the token that operators have, which is long",
                    METRICS_TOKEN="the token that Prometheus has, which is long",
                ),
                proxies=proxies,
                bucket_way=bucket_way,
            )
