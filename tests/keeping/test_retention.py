"""What is old goes, once an hour, in batches; every fact about it stays, and so does all else."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from service.adapters.migrate import find_migrations, migrate
from service.adapters.rows import inbox_record
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from service.domain.errors import DependencyDown, Transient
from service.domain.inbox import Delivery
from service.domain.job import JobState
from service.domain.policy import DAY_S
from service.flows import retention
from service.flows.receive import handle
from service.flows.retention import keep_once
from service.ports import Services
from service.sandbox.object_store import ObjectStore
from tests.faults.steps import sweep_until, until_fal_is_done
from tests.keeping.conftest import Shared
from tests.parts import thorough
from tests.store import bench
from tests.store.bench import LONG_S, TABLES, job_in
from tests.store.test_due import index_scans
from tests.world import World, eventually, open_world

EMPTY = b""
GOES = {"body", "kept_since", "start_image_removed_at"}


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


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def standing(s3: ObjectStore) -> AsyncIterator[World]:
    async with open_world(s3) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="package")
async def world(standing: World) -> World:
    """The module's world, with nothing in its tables but the templates."""
    await standing.http.post(f"{standing.sandbox.fal_url}/sandbox/reset")
    await standing.quiet()
    used = [each for each in TABLES if each != "template"]
    database = standing.runtime.store.database
    await database.write("{ " + " ".join(f"DELETE {table};" for table in used) + " }")
    return standing


async def grow_old(store: SurrealStore, days: float, *job_ids: str) -> None:
    """Let so much time pass since these jobs ended and their deliveries were handled."""
    await store.database.write(
        "{ UPDATE video_job SET finished_at -= <duration>$age"
        " WHERE record::id(id) IN $names AND finished_at != NONE;"
        " UPDATE inbox SET handled_at -= <duration>$age"
        " WHERE record::id(job) IN $names AND handled_at != NONE; }",
        age=f"{round(days * 24)}h",
        names=list(job_ids),
    )


async def turn(services: Services, store: SurrealStore) -> retention.Kept:
    """The next hour's turn."""
    await store.database.write("UPDATE chore SET due = time::now()")
    kept = await keep_once(services)
    assert kept is not None
    return kept


def counts(kept: retention.Kept) -> tuple[int, int, int]:
    return (kept.handled_emptied, kept.parked_emptied, kept.images_removed)


async def rows(store: SurrealStore, table: str) -> dict[str, Any]:
    found = await store.database.read(f"SELECT * FROM {table}")
    return {str(each["id"].id): each for each in found}


async def changed(store: SurrealStore, before: dict[str, Any], table: str) -> dict[str, set[str]]:
    """Which fields of which rows are not as they were."""
    after = await rows(store, table)
    assert before.keys() == after.keys()
    return {
        name: fields
        for name, row in before.items()
        if (fields := {key for key in {*row, *after[name]} if row.get(key) != after[name].get(key)})
    }


async def images(world: World) -> set[str]:
    """The start images of jobs here that are in the bucket."""
    named = await world.runtime.store.database.read("SELECT VALUE start_image_key FROM video_job")
    return {key for key in named if await is_there(world.runtime.services, key)}


async def is_there(services: Services, key: str) -> bool:
    try:
        async for _ in services.bucket.read(key):
            return True
    except Transient:
        return False
    return True


async def test_what_is_old_goes_and_every_fact_stays(world: World) -> None:
    """Of a job that ended long ago; not of a younger one, an unfinished one or a parked one."""
    store = world.runtime.store
    await world.grant(400)
    old, young = await world.submit(brand="old"), await world.submit(brand="young")
    for each in (old, young):
        await world.until(each, "completed")
    await world.faults("drop", times=2)
    open_one, parked = await world.submit(brand="open"), await world.submit(brand="parked")
    for each in (open_one, parked):
        await world.until_state(each, "submitted")
    await world.quiet()
    assert await store.park(await store.job(parked), "odd")
    await grow_old(store, 31, old, open_one, parked)
    await grow_old(store, 29, young)
    inbox, jobs, had = (
        await rows(store, "inbox"),
        await rows(store, "video_job"),
        await images(world),
    )
    keys = {name: row["start_image_key"] for name, row in jobs.items()}
    assert had == set(keys.values())

    kept = await turn(world.runtime.services, store)

    assert counts(kept) == (1, 0, 1)
    [emptied] = [name for name, row in inbox.items() if str(row["job"].id) == old]
    assert await changed(store, inbox, "inbox") == {emptied: {"body", "kept_since"}}
    assert (await store.delivery(emptied)).body == EMPTY
    assert await changed(store, jobs, "video_job") == {
        old: {"kept_since", "start_image_removed_at"}
    }
    assert await images(world) == had - {keys[old]}
    assert counts(await turn(world.runtime.services, store)) == (0, 0, 0), "it is not found again"
    assert (await world.audit()).violations == []
    assert (await world.status(old))["status"] == "completed"
    await sweep_until(world, open_one, "ready")
    assert (await store.job(parked)).parked, "no timer closes it"


async def test_a_video_that_comes_after_all_that_is_still_delivered(world: World) -> None:
    """Its ended job has neither words nor image any more; and a repeat is still a repeat."""
    store = world.runtime.store
    await world.grant(100)
    await world.faults("refuse,drop")
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    await sweep_until(world, job_id, "failed")
    job = await store.job(job_id)
    assert job.submission is not None
    body = (
        b'{"request_id": "%s", "status": "OK", "payload":'
        b' {"video": {"url": "https://v3.fal.media/files/a/late.mp4"}}}'
    ) % job.submission.request_id.encode()
    message = Delivery(
        job_id=job_id,
        attempt=1,
        request_id=job.submission.request_id,
        user_id="us",
        body=body,
        stale=False,
    )
    await grow_old(store, 31, job_id)
    assert counts(await turn(world.runtime.services, store))[2] == 1

    assert await store.record_delivery(message, grace_s=LONG_S)
    assert await handle(world.runtime.services, message.entry_id)

    late = await store.job(f"{job_id}-late")
    assert (late.recovers, late.start_image_key) == (job_id, job.start_image_key)
    await grow_old(store, 31, job_id)
    assert counts(await turn(world.runtime.services, store))[0] == 1
    assert not await store.record_delivery(message, grace_s=LONG_S), "its id is of its words"
    assert (await store.delivery(message.entry_id)).outcome == "late: recovered"


async def test_a_parked_delivery_loses_its_words_and_waits_on(world: World) -> None:
    """Redriving it then asks fal about its request instead."""
    store = world.runtime.store
    await world.grant(100)
    await world.faults("drop")
    job_id = await world.submit()
    job = await world.until_state(job_id, "submitted")
    assert job.submission is not None
    message = Delivery(
        job_id=job_id,
        attempt=1,
        request_id=job.submission.request_id,
        user_id="us",
        body=b"no words of fal's",
        stale=False,
    )
    await store.record_delivery(message, grace_s=LONG_S)
    await handle(world.runtime.services, message.entry_id)
    assert (await store.delivery(message.entry_id)).parked
    services = replace(
        world.runtime.services, policy=replace(world.runtime.services.policy, keep_parked_s=0)
    )
    before = await rows(store, "inbox")

    assert counts(await turn(world.runtime.services, store)) == (0, 0, 0), "not before its time"
    assert counts(await turn(services, store)) == (0, 1, 0)
    assert counts(await turn(services, store)) == (0, 0, 0)

    assert await changed(store, before, "inbox") == {message.entry_id: {"body"}}
    assert await store.redrive_delivery(message.entry_id)
    await until_fal_is_done(world)
    await handle(world.runtime.services, message.entry_id)
    assert (await store.delivery(message.entry_id)).outcome == "rendered"
    await sweep_until(world, job_id, "ready")


async def test_one_process_at_a_time_and_only_when_it_is_due(world: World) -> None:
    turns = await asyncio.gather(*(keep_once(world.runtime.services) for _ in range(8)))
    assert [each is not None for each in turns].count(True) == 1
    assert await keep_once(world.runtime.services) is None
    due = (await rows(world.runtime.store, "chore"))["retention"]["due"]
    now = await world.runtime.store.database.read("RETURN time::now()")
    assert 0 < (due - now).total_seconds() <= retention.APART_S


async def ended_jobs(services: Services, store: SurrealStore, count: int) -> list[str]:
    """Jobs that ended long ago, each with a delivery and a start image."""
    made = []
    for _ in range(count):
        job = await job_in(store, JobState.READY)
        await services.bucket.put_image(job.start_image_key or "", b"x", "image/png")
        message = bench.delivery(job.id)
        await store.record_delivery(message, grace_s=LONG_S)
        await store.close_delivery(message.entry_id, "rendered")
        made.append(job.id)
    await grow_old(store, 31, *made)
    return made


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


async def test_a_job_that_waits_for_a_person_is_spoken_of_and_left_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    store = world.runtime.store
    job = await job_in(store, JobState.SUBMITTED)
    await store.park(job, "odd")
    await store.database.write("UPDATE video_job SET updated_at -= 200d")
    before = await bench.row(store, job.id)

    kept = await turn(world.runtime.services, store)

    assert kept.longest_parked_s is not None
    assert kept.longest_parked_s >= 200 * DAY_S
    [line] = [each for each in caplog.records if each.name == retention.__name__]
    assert line.levelno == logging.WARNING
    assert await bench.row(store, job.id) == before


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
