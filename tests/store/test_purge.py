"""Purging: attempts that are counted first, and what is emptied before it is done."""

import asyncio

import pytest

from service.adapters.store import SurrealStore
from service.domain.job import JobState
from service.ports import Recovered, Settled
from tests.store import bench
from tests.store.bench import LONG_S, delivery, job_in
from tests.store.deleting import (
    DELAYS,
    body,
    deleted_job,
    due,
    make_due,
    purged_job,
    recorded,
    taken,
)
from tests.store.test_due import index_scans


async def test_an_attempt_is_counted_first_and_the_next_one_put_off_further(
    store: SurrealStore,
) -> None:
    job_id = (await deleted_job(store)).id
    waits = []
    for attempt in (1, 2, 3):
        job = await taken(store, job_id)
        assert job.purge_attempts == attempt
        row = await bench.row(store, job_id)
        waits.append(round((row["purge_due"] - job.read_at).total_seconds() / LONG_S))
        assert await store.take_purge(job_id, DELAYS) is None, "it is put off"
        assert await due(store) == ()
        await make_due(store)
        assert await due(store) == (job_id,)
    assert waits == [1, 2, 2], "the last wait repeats, for ever"


@pytest.mark.overlapping
async def test_of_many_who_take_a_purge_at_once_one_does(store: SurrealStore) -> None:
    job_id = (await deleted_job(store)).id
    jobs = await asyncio.gather(*(store.take_purge(job_id, DELAYS) for _ in range(8)))
    assert [each.id for each in jobs if each is not None] == [job_id]


async def test_a_purge_that_is_done_is_due_no_more_and_says_what_was_kept(
    store: SurrealStore,
) -> None:
    job = await taken(store, (await deleted_job(store)).id)
    assert await store.finish_purge(job, "fal answered 403")
    row = await bench.row(store, job.id)
    assert (row.get("purge_due"), row["payload_kept"]) == (None, "fal answered 403")
    assert row["purged_at"] >= row["deleted_at"]
    assert await due(store) == ()
    assert await store.take_purge(job.id, DELAYS) is None
    assert not await store.finish_purge(job, None), "a repeat changes nothing"
    assert await bench.row(store, job.id) == row
    assert await bench.violations(store) == []


async def test_an_older_attempt_does_not_finish_a_newer_one(store: SurrealStore) -> None:
    job_id = (await deleted_job(store)).id
    older = await taken(store, job_id)
    await make_due(store)
    newer = await taken(store, job_id)
    assert not await store.finish_purge(older, None)
    assert await store.finish_purge(newer, None)


@pytest.mark.parametrize("state", list(JobState))
async def test_what_is_not_deleted_is_never_purged(store: SurrealStore, state: JobState) -> None:
    job = await job_in(store, state)
    await store.database.write(
        "UPDATE video_job SET purge_due = time::now() - 1s, purge_attempts = 0"
    )
    before = await bench.row(store, job.id)
    assert await store.take_purge(job.id, DELAYS) is None
    assert not await store.finish_purge(job, None)
    await store.database.write("UPDATE video_job SET purge_due = NONE")
    assert not await store.purge_again(job.id)
    assert {**before, "purge_due": None} == {**await bench.row(store, job.id), "purge_due": None}


async def test_something_new_begins_a_purge_anew_that_was_done(store: SurrealStore) -> None:
    job = await purged_job(store)
    assert await store.purge_again(job.id)
    assert await due(store) == (job.id,)
    assert (await taken(store, job.id)).purge_attempts == 1
    before = await bench.row(store, job.id)
    assert not await store.purge_again(job.id), "one that is under way keeps its pace"
    assert await bench.row(store, job.id) == before


async def test_who_stores_a_video_after_all_begins_the_purge_anew(store: SurrealStore) -> None:
    """A finaliser that hung past its lease, while another one was done and the job deleted."""
    job = await purged_job(store)
    assert await bench.settle(store, job) is Settled.ALREADY
    assert await due(store) == (job.id,)
    assert not await store.finish_purge(job, None), "what it had found is no longer so"
    kept = await job_in(store, JobState.READY)
    assert await bench.settle(store, kept) is Settled.ALREADY
    assert await due(store) == (job.id,), "and of one that is not deleted nothing"


async def test_due_purges_are_found_by_index(store: SurrealStore) -> None:
    text = store._queries["due_removals"]
    for table, index in (("video_job", "video_job_purge"), ("account", "account_close")):
        start = text.index(f"SELECT VALUE id FROM {table}")
        selection = text[start : text.index("LIMIT $limit", start)] + "LIMIT $limit"
        plan = await store.database.read(f"{selection} EXPLAIN", limit=5)
        assert index_scans(plan) == [index], plan


async def test_a_batch_is_no_larger_than_asked(store: SurrealStore) -> None:
    ids = [(await deleted_job(store)).id for _ in range(3)]
    assert (await store.due_removals(2)).jobs == tuple(ids[:2])


async def test_handled_deliveries_are_emptied_and_the_others_left(store: SurrealStore) -> None:
    job = await deleted_job(store)
    handled = await recorded(store, delivery(job.id, request_id="r1"))
    waiting = await recorded(store, delivery(job.id, body=b"later"), None)
    parked = await recorded(store, delivery(job.id, body=b"odd"), None)
    await store.park_delivery(parked, "odd")
    others = await recorded(store, delivery("another-job"))
    await recorded(store, delivery("another-job", body=b"later"), None)
    for _ in range(2):
        assert await store.empty_deliveries(job) == {"r1"}
    emptied = await store.delivery(handled)
    assert (emptied.body, emptied.outcome) == (b"", "x")
    assert not await store.record_delivery(delivery(job.id, request_id="r1"), grace_s=LONG_S)
    assert [await body(store, each) for each in (waiting, parked)] == [b"later", b"odd"]
    assert await body(store, others) != b""
    assert sorted(await store.unhandled_deliveries(job.id)) == sorted([waiting, parked])


async def test_the_delivery_that_brought_a_late_video_is_emptied_with_it(
    store: SurrealStore,
) -> None:
    old = await job_in(store, JobState.FAILED)
    assert await bench.recover(store, old) is Recovered.RECOVERED
    brought = await recorded(store, delivery(old.id))
    other = await recorded(store, delivery(old.id, request_id="another"))
    waiting = await recorded(store, delivery(old.id, body=b"later"), None)
    strangers = await recorded(store, delivery("a-stranger", request_id=bench.request_of(old.id)))
    late = await store.job(bench.successor(old.id).job_id)
    assert await store.empty_deliveries(late) == frozenset()
    assert await body(store, brought) == b""
    assert b"" not in [await body(store, each) for each in (other, waiting, strangers)]


@pytest.mark.parametrize("outcome", [None, "x"], ids=["waiting", "handled"])
async def test_no_purge_is_done_while_a_raw_delivery_is_there(
    store: SurrealStore, outcome: str | None
) -> None:
    """One that came between the emptying and the end of the attempt."""
    job = await taken(store, (await deleted_job(store)).id)
    await store.empty_deliveries(job)
    await recorded(store, delivery("another-job"), None)
    raw = b"" if outcome is None else b"{}"  # fal may say nothing at all
    entry_id = await recorded(store, delivery(job.id, body=raw), outcome)
    assert not await store.finish_purge(job, None)
    await store.close_delivery(entry_id, "x")
    await store.empty_deliveries(job)
    assert await store.finish_purge(job, None)


async def test_a_raw_delivery_that_a_done_purge_left_is_a_violation(store: SurrealStore) -> None:
    job = await purged_job(store)
    await recorded(store, delivery(job.id))
    [found] = await bench.violations(store)
    assert found.problem == "a raw delivery of a purged job"
    await store.purge_again(job.id)
    assert await bench.violations(store) == []
