"""Migrations: each once, in order, by one runner, and only as they were when they ran."""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from service.adapters.migrate import (
    Migration,
    MigrationFailed,
    find_migrations,
    migrate,
    pending,
)
from service.adapters.surreal import Database, DatabaseSettings
from service.adapters.surreal_errors import Rejected
from service.domain.job import STATUS, JobState
from tests.migrated import at_once
from tests.store.bench import TABLES


async def run(database: Database, migrations: Sequence[Migration]) -> tuple[int, list[str]]:
    lines: list[str] = []
    return await migrate(database, migrations, lines.append), lines


async def tables(database: Database) -> dict[str, str]:
    info = await database.read("INFO FOR DB")
    found: dict[str, str] = info["tables"]
    return found


async def test_a_fresh_database_gets_every_migration_once(empty: Database) -> None:
    migrations = find_migrations()
    names = [each.name for each in migrations]
    assert await pending(empty, migrations) == names
    applied, lines = await run(empty, migrations)
    assert applied == len(names)
    assert [line for line in lines if line.startswith("applying")] == [
        f"applying {name}" for name in names
    ]
    assert lines[-1] == "fal_model already present on all 0 jobs"
    assert await pending(empty, migrations) == []


async def test_a_second_run_applies_nothing_and_says_so(empty: Database) -> None:
    migrations = find_migrations()
    await run(empty, migrations)
    schema = await tables(empty)
    applied, lines = await run(empty, migrations)
    assert applied == 0
    assert lines[:-1] == [f"already applied: {each.name}" for each in migrations]
    assert "fal_model already present" in lines[-1]
    assert await tables(empty) == schema


async def test_every_table_is_schemafull_and_refuses_an_unknown_field(empty: Database) -> None:
    await run(empty, find_migrations())
    found = await tables(empty)
    assert set(found) == {*TABLES, "schema_migration", "schema_lock"}
    for name, definition in found.items():
        assert "SCHEMAFULL" in definition, name
        with pytest.raises(Rejected):
            await empty.write(f"CREATE {name} SET stranger = 1")


async def test_a_migration_that_was_edited_after_it_ran_is_refused(empty: Database) -> None:
    first, second, *rest = find_migrations()
    await run(empty, [first])
    edited = dataclasses.replace(first, text=first.text + "\n-- edited")
    with pytest.raises(MigrationFailed, match=f"{first.name} was edited"):
        await run(empty, [edited, second, *rest])
    with pytest.raises(MigrationFailed, match="was edited"):
        await pending(empty, [edited])
    assert await pending(empty, [first, second]) == [second.name], "nothing after it has run"


async def test_after_a_refusal_the_next_runner_is_not_kept_waiting(empty: Database) -> None:
    migrations = find_migrations()
    broken = Migration("0000_broken", "CREATE nothing SET x = ;")
    with pytest.raises(MigrationFailed, match="0000_broken"):
        await run(empty, [broken, *migrations])
    assert await pending(empty, [broken]) == ["0000_broken"], "a failed one is not recorded"
    async with asyncio.timeout(5):
        await run(empty, migrations)


async def test_a_migration_that_fails_stops_those_after_it(empty: Database) -> None:
    migrations = [Migration("1_bad", "THROW 'no'"), Migration("2_good", "DEFINE TABLE good")]
    with pytest.raises(MigrationFailed, match="1_bad"):
        await run(empty, migrations)
    assert "good" not in await tables(empty)


@pytest.mark.overlapping
async def test_two_runners_at_once_apply_once(empty: Database) -> None:
    count = Migration("9_count", "UPSERT counter:one SET runs = (runs ?? 0) + 1")
    migrations = [*find_migrations(), count]
    results = await asyncio.gather(run(empty, migrations), run(empty, migrations))
    assert sorted(applied for applied, _ in results) == [0, len(migrations)]
    assert await empty.read("SELECT VALUE runs FROM ONLY counter:one") == 1


async def test_a_runner_waits_for_another_and_a_dead_ones_lock_runs_out(empty: Database) -> None:
    await run(empty, find_migrations())
    await empty.write("UPSERT schema_lock:one SET owner = 'dead', until = time::now() + 300ms")
    until = await empty.read("SELECT VALUE until FROM ONLY schema_lock:one")
    await run(empty, find_migrations())
    assert await empty.read("RETURN time::now()") > until


async def test_asking_what_is_pending_changes_nothing(empty: Database) -> None:
    migrations = find_migrations()
    assert await pending(empty, migrations) == [each.name for each in migrations]
    assert await tables(empty) == {}


async def test_a_death_between_a_migration_and_its_record_is_repeated_harmlessly(
    empty: Database,
) -> None:
    migrations = find_migrations()
    await run(empty, migrations)
    await empty.write("DELETE schema_migration")
    schema = await tables(empty)
    applied, _ = await run(empty, migrations)
    assert applied == len(migrations)
    assert await tables(empty) == schema


async def test_the_schema_derives_the_status_that_the_domain_derives(empty: Database) -> None:
    await run(empty, find_migrations())
    info = await empty.read("INFO FOR TABLE video_job")
    definition = info["fields"]["state"]
    for state, status in STATUS.items():
        assert f"'{state}'" in definition
        [row] = await empty.write(
            "CREATE video_job SET account = account:a, email = 'a@b', template_id = 't',"
            " provider = 'p', arguments = {}, duration_s = 1, credits = 0,"
            " expected_render_s = 1, state = $state, status = 'nonsense'",
            state=state.value,
        )
        assert row["status"] == status
    assert definition.count("'") == 2 * len(JobState), "the schema knows the same states"


async def test_a_batch_is_run_again_until_it_finds_nothing(empty: Database) -> None:
    """What changes many rows does so a bounded transaction at a time."""
    await run(empty, find_migrations())
    await empty.write("{ DEFINE TABLE heap SCHEMALESS; FOR $at IN 0..7 { CREATE heap } }")
    batch = """{
        LET $rows = (SELECT VALUE id FROM heap WHERE done = NONE LIMIT 3);
        UPDATE $rows SET done = true RETURN NONE;
        RETURN count($rows);
    };"""
    await run(empty, [Migration("9999_batches", batch)])
    assert await empty.read("RETURN count((SELECT VALUE id FROM heap WHERE done = NONE))") == 0
    assert await empty.read("RETURN count((SELECT VALUE id FROM heap))") == 7


async def test_all_in_one_call_leaves_the_database_that_one_by_one_leaves() -> None:
    """Most tests take the short way: it must lead to the same place."""
    ways = []
    for way in (migrate, at_once):
        database = Database(DatabaseSettings(url="mem://", namespace="tests", database="ways"))
        await database.open()
        await way(database, find_migrations(), report=lambda _: None)
        assert await pending(database, find_migrations()) == []
        ways.append(await definitions(database))
        await database.close()
    assert ways[0] == ways[1]


async def definitions(database: Database) -> dict[str, Any]:
    """Everything that is defined, table by table."""
    found = await database.read("INFO FOR DB")
    return {
        "database": {**found, "tables": {}},
        **{
            table: [definition, await database.read(f"INFO FOR TABLE {table}")]
            for table, definition in found["tables"].items()
        },
    }
