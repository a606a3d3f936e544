"""The engines every test of the store runs on. One fixture, `settings`, decides."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.adapters.migrate import find_migrations, migrate
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings

# A server joins by its name here and its address, sign-in and a namespace of its own below.
ENGINES = ("mem", "surrealkv")


@pytest.fixture(params=ENGINES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseSettings:
    """A new and empty database on the engine."""
    urls = {"mem": "mem://", "surrealkv": f"surrealkv://{tmp_path / 'db'}"}
    return DatabaseSettings(url=urls[request.param], namespace="tests", database="store")


@pytest.fixture
async def empty(settings: DatabaseSettings) -> AsyncIterator[Database]:
    """An open database without any table."""
    database = Database(settings)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def database(empty: Database) -> Database:
    """An open database with this code's schema."""
    await migrate(empty, find_migrations(), report=lambda _: None)
    return empty


@pytest.fixture
async def store(database: Database) -> SurrealStore:
    return SurrealStore(database)
