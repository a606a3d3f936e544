"""Connection pools as several processes of the service would have them, on one database."""

import contextlib
from collections.abc import AsyncIterator

from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from tests.store.bench import TABLES


@contextlib.asynccontextmanager
async def open_stores(settings: DatabaseSettings, count: int) -> AsyncIterator[list[SurrealStore]]:
    databases = [Database(settings) for _ in range(count)]
    try:
        for database in databases:
            await database.open()
        yield [SurrealStore(database) for database in databases]
    finally:
        for database in databases:
            await database.close()


async def wipe(store: SurrealStore) -> None:
    await store.database.write("{ " + " ".join(f"DELETE {table};" for table in TABLES) + " }")
