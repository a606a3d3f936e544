"""Many finished jobs in a short time, made inside the engine: f0x, f1x, …"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from service.adapters.store import SurrealStore
from service.adapters.surreal import Database
from tests.store.bench import OWNER

BATCH: Final = 2_000  # rows a transaction
OWNERS: Final = 5_000
FILLERS: Final = 2
DAY_MS: Final = 86_400_000
AT: Final = "$since + <duration>(<string>($n * $apart) + 'ms')"

# Copies of one row each, made inside the engine: only ids, owners and instants differ.
FILL: Final = {
    "video_job": """object::extend($row, { id: 'f' + <string>$n + 'x',
        account: type::record('account', 'o' + <string>($n % $owners)),
        fal_request_id: 'request-of-f' + <string>$n + 'x', created_at: $at, finished_at: $at,
        kept_since: $at })""",
    "inbox": """object::extend($row, { id: 'f' + <string>$n + 'x',
        job: type::record('video_job', 'f' + <string>$n + 'x'),
        request_id: 'request-of-f' + <string>$n + 'x', received_at: $at, handled_at: $at,
        kept_since: $at })""",
    "ledger": """object::extend($row, { id: ['f' + <string>$n + 'x', $row.kind],
        account: type::record('account', 'o' + <string>($n % $owners)),
        job: type::record('video_job', 'f' + <string>$n + 'x'), at: $at })""",
}


async def fill(store: SurrealStore, size: int) -> None:
    """Copies of the one finished job that is there, its delivery and its ledger entries.

    The rules of the tables are off meanwhile, which halves the time, and which the copies of rows
    that passed them would pass too; the indexes are on.
    """
    database = store.database
    patterns = {
        "video_job": ["SELECT * OMIT id, thumbnail_due FROM video_job"],
        "inbox": ["SELECT * OMIT id FROM inbox"],
        "ledger": [
            f"SELECT * OMIT id FROM ledger WHERE kind = '{kind}'" for kind in ("reserve", "capture")
        ],
    }
    rows = {
        (table, number): (await database.read(text))[0]
        for table, texts in patterns.items()
        for number, text in enumerate(texts)
    }
    async with contextlib.AsyncExitStack() as stack:
        for table in patterns:
            await stack.enter_async_context(_without_rules(database, table))
        batches = iter([(at, min(at + BATCH, size)) for at in range(0, size, BATCH)])
        fillers = [Database(replace(database.settings)) for _ in range(FILLERS)]
        async with asyncio.TaskGroup() as group:
            for each in fillers:
                group.create_task(_fill_batches(each, rows, batches, size))
    for number in (0, size // 2, size - 1):
        assert (await store.job(f"f{number}x")).email == OWNER


async def _fill_batches(
    database: Database,
    rows: dict[tuple[str, int], dict[str, Any]],
    batches: Iterator[tuple[int, int]],
    size: int,
) -> None:
    since = datetime.now(UTC) - timedelta(days=30)
    try:
        for start, end in batches:
            for (table, _), row in rows.items():
                made = f"{{ LET $at = {AT}; RETURN {FILL[table]} }}"
                await database.write(
                    f"{{ LET $rows = array::map(array::range($start, $end), |$n| {made});"
                    f" INSERT INTO {table} $rows RETURN NONE }}",
                    row={name: value for name, value in row.items() if value is not None},
                    owners=OWNERS,
                    since=since,
                    apart=29 * DAY_MS // size,
                    start=start,
                    end=end,
                )
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def _without_rules(database: Database, table: str) -> AsyncIterator[None]:
    fields: dict[str, str] = (await database.read(f"INFO FOR TABLE {table}"))["fields"]
    await database.script(
        ";".join(f"REMOVE FIELD {name} ON {table}" for name in fields)
        + f";ALTER TABLE {table} SCHEMALESS"
    )
    yield
    again = [each.replace("DEFINE FIELD", "DEFINE FIELD OVERWRITE") for each in fields.values()]
    await database.script(";".join([f"ALTER TABLE {table} SCHEMAFULL", *again]))
