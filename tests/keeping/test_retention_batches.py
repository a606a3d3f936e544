"""Retention in turns: deaths at any call, bounds, what waits, and what is found."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from service.adapters.migrate import find_migrations, migrate
from service.adapters.rows import inbox_record
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from service.domain.errors import DependencyDown
from service.domain.job import JobState
from service.domain.policy import DAY_S
from service.flows import retention
from service.flows.retention import keep_once
from tests.keeping.conftest import Shared
from tests.keeping.old import (
    EMPTY,
    counts,
    ended_jobs,
    grow_old,
    is_there,
    rows,
    turn,
)
from tests.parts import thorough
from tests.store import bench
from tests.store.bench import LONG_S, job_in
from tests.store.test_due import index_scans
from tests.world import World, eventually


class Crash(BaseException):
    """The process dies here."""


class Dying:
    """A part that dies at its call number `at`, before it or right after it."""

    def __init__(self, part: Any, deaths: "Deaths") -> None:
        self._part, self._deaths = part, deaths

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._part, name)

        async def counted(*args: Any, **more: Any) -> Any:
            self._deaths.count("before")
            answer = await call(*args, **more)
            self._deaths.count("after")
            return answer

        return counted


class Deaths:
    def __init__(self, at: int) -> None:
        self.left = at

    def count(self, _: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise Crash


async def test_one_process_at_a_time_and_only_when_it_is_due(world: World) -> None:
    turns = await asyncio.gather(*(keep_once(world.runtime.services) for _ in range(8)))
    assert [each is not None for each in turns].count(True) == 1
    assert await keep_once(world.runtime.services) is None
    due = (await rows(world.runtime.store, "chore"))["retention"]["due"]
    now = await world.runtime.store.database.read("RETURN time::now()")
    assert 0 < (due - now).total_seconds() <= retention.APART_S


async def test_a_death_at_any_call_leaves_the_rest_for_the_next_turn(world: World) -> None:
    """Before and after each call to the database and to the bucket."""
    store, services = world.runtime.store, world.runtime.services
    at = 0
    while True:
        [job_id] = await ended_jobs(services, store, 1)
        deaths = Deaths(at)
        dying = replace(services, store=Dying(store, deaths), bucket=Dying(services.bucket, deaths))
        await store.database.write("UPDATE chore SET due = time::now()")
        try:
            await keep_once(dying)
        except Crash:
            await turn(services, store)
        entry = (await rows(store, "inbox"))[bench.delivery(job_id).entry_id]
        assert bytes(entry["body"]) == EMPTY
        assert (await rows(store, "video_job"))[job_id]["start_image_removed_at"] is not None
        assert not await is_there(services, f"users/0/start/{job_id}.png")
        if deaths.left >= 0:
            break
        at += 1 if thorough() else 5
    assert at >= 2 * len(
        {"turn", "handled", "parked", "images", "delete", "note", "none", "oldest"}
    )


async def test_a_turn_is_bounded_and_the_next_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, services = world.runtime.store, world.runtime.services
    await ended_jobs(services, store, 5)
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(retention, "BATCHES", 2)
    assert counts(await turn(services, store)) == (4, 0, 4)
    assert counts(await turn(services, store)) == (1, 0, 1)


async def test_while_the_bucket_is_away_images_wait_and_words_do_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, services = world.runtime.store, world.runtime.services
    gone, stuck = await ended_jobs(services, store, 2)
    delete = services.bucket.delete

    async def refusing(key: str) -> None:
        if stuck in key:
            raise DependencyDown("the store does not answer")
        await delete(key)

    with monkeypatch.context() as patch:
        patch.setattr(type(services.bucket), "delete", lambda _, key: refusing(key))
        kept = await turn(services, store)
    assert (counts(kept), kept.images_left) == ((2, 0, 1), 1)
    assert (await rows(store, "video_job"))[gone]["start_image_removed_at"] is not None
    assert (await rows(store, "video_job"))[stuck].get("start_image_removed_at") is None
    assert counts(await turn(services, store)) == (0, 0, 1)


@pytest.mark.parametrize("state", sorted(set(JobState)))
async def test_the_image_goes_only_where_nothing_is_sent_any_more(
    world: World, state: JobState
) -> None:
    store = world.runtime.store
    job = await job_in(store, state)
    await grow_old(store, 31, job.id)
    found = await store.old_start_images(10, age_s=30 * DAY_S)
    assert [each.job_id for each in found] == ([job.id] if job.is_final else [])


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("empty_handled", "inbox_kept"),
        ("empty_parked", "inbox_parked"),
        ("old_start_images", "video_job_kept"),
        ("longest_parked", "video_job_parked"),
    ],
)
async def test_what_is_old_is_found_by_index(shared: Shared, query: str, index: str) -> None:
    text = shared.store._queries[query]
    selection = text[text.index("SELECT") :].partition("LIMIT")[0]
    plan = await shared.service.read(f"{selection} LIMIT 5 EXPLAIN", age="1h", nothing=b"")
    assert index_scans(plan) == [index], plan


async def test_batches_of_two_processes_share_the_work(shared: Shared) -> None:
    """The turn is one process's; where two overlap all the same, nothing is lost or broken."""
    entries = [bench.delivery(body=str(n).encode()) for n in range(12)]
    for each in entries:
        await shared.store.record_delivery(each, grace_s=LONG_S)
        await shared.store.close_delivery(each.entry_id, "rendered")
    assert await shared.store.empty_handled(50, age_s=LONG_S) == 0

    async def some() -> int:
        return await shared.store.empty_handled(5, age_s=0)

    while sum(await asyncio.gather(*(some() for _ in range(4)))):
        pass
    assert {each.body for each in [await shared.store.delivery(e.entry_id) for e in entries]} == {
        EMPTY
    }


async def test_what_ended_before_the_migration_is_found_too() -> None:
    """Rows of a database that knew nothing of this, and of a process that still does not."""
    database = Database(DatabaseSettings(url="mem://", namespace="tests", database="older"))
    migrations = find_migrations()
    older = [each for each in migrations if each.name < "0007"]
    await migrate(database, older, report=lambda _: None)
    store = SurrealStore(database)
    before = await job_in(store, JobState.FAILED)
    entry = bench.delivery(before.id)
    await store.record_delivery(entry, grace_s=LONG_S)
    await store.close_delivery(entry.entry_id, "refused")
    await migrate(database, migrations, report=lambda _: None)
    after = await job_in(store, JobState.FAILED)

    found = await store.old_start_images(10, age_s=0)
    assert {each.job_id for each in found} == {before.id, after.id}
    assert await store.empty_handled(10, age_s=0) == 1
    row = await database.read("SELECT * FROM ONLY $entry", entry=inbox_record(entry.entry_id))
    assert (bytes(row["body"]), row["outcome"]) == (EMPTY, "refused")
    await database.close()


async def test_it_runs_beside_the_sweeps(standing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from service import worker  # noqa: PLC0415

    store = standing.runtime.store
    await store.database.write("DELETE chore")
    async with worker.running_retention(standing.runtime.services):

        async def ran() -> bool | None:
            return True if await rows(store, "chore") else None

        await eventually(ran)
