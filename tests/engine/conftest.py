"""One engine per test process, one migrated database on it, and pools that share it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from service.adapters.migrate import find_migrations, migrate
from service.adapters.store import SurrealStore
from service.adapters.surreal import DatabaseSettings
from tests.engine.pools import open_stores, wipe
from tests.engine.proxy import Proxy, running_proxy
from tests.engine.server import Engine, shared_engine
from tests.loops import share_loop

POOLS = 8


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as its pools serve all of its tests."""
    share_loop(items, Path(__file__).parent)


@pytest.fixture(scope="session")
def engine() -> Engine:
    return shared_engine()


@pytest.fixture(scope="session")
def home(engine: Engine) -> DatabaseSettings:
    """The way to the database that the tests here share."""
    return engine.settings()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def pools(home: DatabaseSettings) -> AsyncIterator[list[SurrealStore]]:
    async with open_stores(home, POOLS) as stores:
        await migrate(stores[0].database, find_migrations(), report=lambda _: None)
        yield stores


@pytest_asyncio.fixture(loop_scope="package")
async def stores(pools: list[SurrealStore]) -> list[SurrealStore]:
    """The same empty tables through several pools, as several processes see them."""
    await wipe(pools[0])
    return pools


@pytest_asyncio.fixture(loop_scope="package")
async def proxy(engine: Engine) -> AsyncIterator[Proxy]:
    async with running_proxy(engine.port) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def far(
    home: DatabaseSettings, stores: list[SurrealStore], proxy: Proxy
) -> AsyncIterator[SurrealStore]:
    """A store whose way to the engine leads through the proxy."""
    async with open_stores(proxy.leading_to(home), 1) as [store]:
        yield store
