"""A database on this process's server, as its owner and as the service's identity see it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.adapters.identity import USES, Identity
from service.adapters.migrate import find_migrations, migrate
from service.adapters.permissions import define_identity
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from service.sandbox.object_store import ObjectStore
from tests.engine.pools import wipe
from tests.engine.server import shared_engine
from tests.loops import share_loop
from tests.store.bench import TABLES
from tests.world import World, open_world

KEY = "a key of at least thirty-two characters"
GRANT = "WHERE string::starts_with($access ?? '', 'fal_video_')"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as its connections serve all of its tests."""
    share_loop(items, Path(__file__).parent)


def as_identity(settings: DatabaseSettings, key: str = KEY) -> DatabaseSettings:
    identity = Identity(key=key, namespace=settings.namespace, database=settings.database)
    return replace(settings, username=None, password=None, identity=identity)


@dataclass(frozen=True, slots=True)
class Shared:
    """One database with two ways in."""

    owner: Database
    service: Database

    @property
    def store(self) -> SurrealStore:
        return SurrealStore(self.service)

    async def permit(self, table: str, *, without: str | None = None) -> None:
        """Let the identity do what it needs with a table, but for one thing."""
        [use] = [each for each in USES if each.table == table]
        granted = [verb for verb in use.verbs if verb != without]
        denied = {"select", "create", "update", "delete"} - set(granted)
        rights = [f"FOR {', '.join(granted)} {GRANT}"] if granted else []
        rights += [f"FOR {', '.join(sorted(denied))} NONE"] if denied else []
        await self.owner.write(f"ALTER TABLE {table} PERMISSIONS {' '.join(rights)}")


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def opened() -> AsyncIterator[Shared]:
    settings = shared_engine().settings()
    owner, service = Database(settings), Database(as_identity(settings))
    await owner.open()
    await migrate(owner, find_migrations(), report=lambda _: None)
    await define_identity(owner, KEY)
    await service.open()
    yield Shared(owner, service)
    await service.close()
    await owner.close()


@pytest_asyncio.fixture(loop_scope="package")
async def shared(opened: Shared) -> Shared:
    """The same on empty tables."""
    await wipe(SurrealStore(opened.owner))
    return opened


async def everything(database: Database) -> dict[str, Any]:
    """All rows of all tables."""
    names = (await database.read("INFO FOR DB"))["tables"]
    return {name: await database.read(f"SELECT * FROM {name}") for name in names}


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def standing(s3: ObjectStore) -> AsyncIterator[World]:
    async with open_world(s3) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="package")
async def world(standing: World) -> World:
    """The directory's world, with nothing in its tables but the templates."""
    await standing.http.post(f"{standing.sandbox.fal_url}/sandbox/reset")
    await standing.quiet()
    used = [each for each in TABLES if each != "template"]
    database = standing.runtime.store.database
    await database.write("{ " + " ".join(f"DELETE {table};" for table in used) + " }")
    return standing
