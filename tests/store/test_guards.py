"""Each guard and each derived id in the queries is held by a test: drop it, and that test fails.

Left out, because another guard or the engine's one-transaction block makes them redundant: the
outer WHERE of due_jobs and due_deliveries and their upper bounds (the selection has it, the index
is oldest first), `state` in heartbeat and give_back (leaving rendered ends the lease), and
`$request_id NOT IN` in record_submission's last step (a union holds nothing twice).
"""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from service.adapters.migrate import find_migrations, migrate
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from service.domain.errors import ServiceError
from tests.store.afterwards_drops import AFTERWARDS_DROPS
from tests.store.bench import TABLES
from tests.store.delete_drops import DELETE_DROPS
from tests.store.drops import MORE_DROPS, Drop
from tests.store.operator_drops import OPERATOR_DROPS
from tests.store.road_drops import ROAD_DROPS


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def memory() -> AsyncIterator[Database]:
    """What a guard is for does not depend on the engine, so one is enough here."""
    database = Database(DatabaseSettings(url="mem://", namespace="tests", database="guards"))
    await migrate(database, find_migrations(), report=lambda _: None)
    yield database
    await database.close()


def mutate(text: str, drop: Drop) -> str:
    """The query without the guard; a space in the guard may be a line break in the query."""
    pattern = r"\s+".join(re.escape(word) for word in drop.text.split())
    mutated, found = re.subn(pattern, lambda _: f" {drop.instead} ", text)
    assert found, f"{drop.query} has no {drop.text!r}"
    return mutated


async def wiped(database: Database) -> SurrealStore:
    await database.write("{ " + " ".join(f"DELETE {table};" for table in TABLES) + " }")
    return SurrealStore(database)


@pytest.mark.parametrize(
    "drop",
    [*ROAD_DROPS, *MORE_DROPS, *DELETE_DROPS, *AFTERWARDS_DROPS, *OPERATOR_DROPS],
    ids=str,
)
async def test_a_dropped_guard_is_noticed(memory: Database, drop: Drop) -> None:
    store = await wiped(memory)
    mutated = mutate(store._queries[drop.query], drop)
    store._queries = {**store._queries, drop.query: mutated}
    with pytest.raises(
        (AssertionError, ServiceError, ValueError, pytest.fail.Exception)
    ) as noticed:
        await drop.claim(store, **drop.arguments)
    assert "Parse error" not in str(noticed.value), "the query must run without its guard"
