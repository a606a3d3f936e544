"""Deleting a job: what is personal goes, what is the books stays."""

import asyncio

import pytest

from service.adapters.store import SurrealStore
from service.domain.job import FINAL, JobState
from service.domain.write_offs import Reason
from service.ports import Deleted, Recovered
from tests.store import bench
from tests.store.bench import OWNER, PRICE, job_in
from tests.store.deleting import (
    ENDED,
    SCRUBBED,
    WRITTEN,
    due,
    purged_job,
)


@pytest.mark.parametrize("state", ENDED)
async def test_an_ended_job_loses_what_is_personal_and_keeps_what_is_the_books(
    store: SurrealStore, state: JobState
) -> None:
    job = await job_in(store, state)
    await store.database.write(
        "UPDATE video_job SET metadata = { note: 'x' }, source_url = 'x', last_problem = 'x'"
    )
    before = await bench.row(store, job.id)
    assert await store.begin_delete(job.id) is Deleted.DELETED
    after = await bench.row(store, job.id)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == SCRUBBED | WRITTEN
    assert {name: after.get(name) for name in SCRUBBED if after.get(name)} == {}
    assert after["version"] == before["version"] + 1
    assert (await store.job(job.id)).is_deleted
    assert await due(store) == (job.id,), "at once"
    assert await bench.violations(store) == []


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL))
async def test_an_unfinished_job_is_not_deleted(store: SurrealStore, state: JobState) -> None:
    job = await job_in(store, state)
    before = await bench.row(store, job.id)
    assert await store.begin_delete(job.id) is Deleted.UNFINISHED
    assert await bench.row(store, job.id) == before


async def test_a_second_delete_changes_nothing(store: SurrealStore) -> None:
    job = await purged_job(store)
    before = await bench.row(store, job.id)
    assert await store.begin_delete(job.id) is Deleted.ALREADY
    assert await bench.row(store, job.id) == before
    assert await store.begin_delete("no-such-job") is Deleted.ALREADY


@pytest.mark.overlapping
async def test_of_many_who_delete_at_once_one_does(store: SurrealStore) -> None:
    job = await job_in(store, JobState.READY)
    said = await asyncio.gather(*(store.begin_delete(job.id) for _ in range(8)))
    assert sorted(said) == [Deleted.ALREADY] * 7 + [Deleted.DELETED]
    assert (await store.job(job.id)).version == job.version + 1


async def test_a_deleted_job_is_in_no_list_of_its_owner_and_pages_go_on_from_it(
    store: SurrealStore,
) -> None:
    jobs = [await job_in(store, JobState.READY) for _ in range(4)]
    await store.begin_delete(jobs[1].id)
    await store.begin_delete(jobs[2].id)

    async def listed(before: str | None = None) -> list[str]:
        return [each.id for each in await store.jobs(OWNER, before=before, limit=10)]

    assert await listed() == [jobs[3].id, jobs[0].id]
    assert await listed(jobs[2].id) == [jobs[0].id]
    assert await listed(jobs[3].id) == [jobs[0].id]
    library = await store.database.read("SELECT VALUE record::id(job) FROM library")
    assert sorted(library) == sorted([jobs[0].id, jobs[3].id])


@pytest.mark.parametrize("state", ENDED)
async def test_credits_are_as_they_were(store: SurrealStore, state: JobState) -> None:
    job = await job_in(store, state)
    held, entries = await bench.credits_of(store), await store.job_ledger(job.id)
    await store.begin_delete(job.id)
    assert await bench.credits_of(store) == held
    assert await store.job_ledger(job.id) == entries


async def test_which_requests_fal_has_forgotten_is_noted_once(store: SurrealStore) -> None:
    assert await store.note_forgotten("v1", "r1")
    assert not await store.note_forgotten("v2", "r1")
    assert await store.note_forgotten("v2", "r2")
    assert await store.forgotten(["r1", "r3"]) == {"r1"}
    assert await store.forgotten([]) == frozenset()
    rows = await store.database.read("SELECT VALUE record::id(job) FROM forgotten_request")
    assert sorted(rows) == ["v1", "v2"]


@pytest.mark.parametrize("gone", ["deleted", "closed"])
async def test_a_late_video_of_what_is_gone_is_not_delivered(
    store: SurrealStore, gone: str
) -> None:
    job = await job_in(store, JobState.FAILED)
    if gone == "deleted":
        await store.begin_delete(job.id)
    else:
        await store.close_account(OWNER)
    assert await bench.recover(store, job) is Recovered.UNWANTED
    assert await bench.credits_of(store) == (PRICE, 0, 0, PRICE)
    await store.write_off(bench.cost_of(job.id, Reason.UNWANTED))
    assert await bench.violations(store) == []
