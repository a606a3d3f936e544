"""The engines every test of the store runs on. `settings_of` is the one place that decides.

Each engine is opened and migrated once; tests share it, and each finds its tables empty. On a
server the store is used as the service's own identity, which may do less than the owner.
"""

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from service.adapters.identity import Identity
from service.adapters.migrate import find_migrations, migrate
from service.adapters.permissions import define_identity
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from tests.engine.server import shared_engine
from tests.loops import share_loop
from tests.store.bench import TABLES

ENGINES = ("mem", "surrealkv", "server")
ACCESS_KEY = "a key of thirty-two characters or more"


@pytest.fixture(scope="session")
def disk() -> Iterator[Path]:
    """A folder in memory where there is one: what is tested here is no disk's patience."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def folder(disk: Path) -> Iterator[Path]:
    with TemporaryDirectory(dir=disk) as folder:
        yield Path(folder)


def settings_of(engine: str, folder: Path) -> DatabaseSettings:
    """A new and empty database on that engine.

    The server is this test process's own, or the one that runs at SURREAL_TEST_URL (ws://…, user
    and password "root").
    """
    if engine == "server":
        return DatabaseSettings(
            url=os.environ.get("SURREAL_TEST_URL") or shared_engine().url,
            namespace="tests",
            database=secrets.token_hex(8),
            username="root",
            password="root",
        )
    urls = {"mem": "mem://", "surrealkv": f"surrealkv://{folder}"}
    return DatabaseSettings(url=urls[engine], namespace="tests", database="store")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as one engine serves all of its tests."""
    share_loop(items, Path(__file__).parent, "session")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What does not overlap answers alike on mem:// and surrealkv://, which are one build.

    All other tests of the service run on mem://, so the default engine is the one taken here. On a
    server it runs in CI; what overlaps runs there every day.
    """
    if "engine" in metafunc.fixturenames:
        overlaps = metafunc.definition.get_closest_marker("overlapping") is not None
        one_of_each = ["surrealkv", pytest.param("server", marks=pytest.mark.thorough)]
        engines = ENGINES if overlaps else one_of_each
        metafunc.parametrize("engine", engines, indirect=True, scope="session")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated(engine: str, disk: Path) -> AsyncIterator[Database]:
    database = Database(settings_of(engine, disk / engine))
    await database.open()
    await migrate(database, find_migrations(), report=lambda _: None)
    yield database
    await database.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def used(migrated: Database) -> AsyncIterator[Database]:
    """The same database, signed in as the service is."""
    if migrated.settings.embedded:
        yield migrated
        return
    settings = migrated.settings
    await define_identity(migrated, ACCESS_KEY)
    identity = Identity(key=ACCESS_KEY, namespace=settings.namespace, database=settings.database)
    database = Database(replace(settings, username=None, password=None, identity=identity))
    await database.open()
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def store(migrated: Database, used: Database) -> SurrealStore:
    """A store on empty tables."""
    await migrated.write("{ " + " ".join(f"DELETE {table};" for table in TABLES) + " }")
    return SurrealStore(used)


@pytest_asyncio.fixture(loop_scope="session")
async def empty(engine: str, folder: Path) -> AsyncIterator[Database]:
    """A database of its own without any table."""
    database = Database(settings_of(engine, folder / "db"))
    await database.open()
    yield database
    await database.close()
