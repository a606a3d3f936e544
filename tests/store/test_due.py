"""What is due: found by index, put off further each time, shared by sweeps, never parked."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from service.adapters.store import SurrealStore
from service.domain.job import FINAL, JobState
from tests.store import bench
from tests.store.bench import ALL_STATES, LONG_S, delivery, job_in

DELAYS = (LONG_S, 2 * LONG_S)
UNFINISHED = sorted(set(ALL_STATES) - FINAL)


async def make_all_due(store: SurrealStore) -> None:
    """Let time pass: whatever has a due time or a lease is past it."""
    await store.database.write(
        "{ UPDATE video_job SET due = time::now() - 1s WHERE due != NONE;"
        " UPDATE video_job SET lease_until = time::now() - 1s WHERE lease_until != NONE;"
        " UPDATE inbox SET due = time::now() - 1s WHERE due != NONE; }"
    )


async def due_ids(store: SurrealStore, limit: int = 50) -> list[str]:
    return [job.id for job in await store.due_jobs(limit, DELAYS)]


def index_scans(plan: Any) -> list[Any]:
    """The indexes a query plan scans."""
    if not isinstance(plan, dict):
        return []
    own = [plan["attributes"]["index"]] if plan.get("operator") == "IndexScan" else []
    return own + [each for child in plan.get("children", []) for each in index_scans(child)]


@pytest.mark.parametrize(
    ("query", "index"), [("due_jobs", "video_job_due"), ("due_deliveries", "inbox_due")]
)
async def test_due_rows_are_found_by_index(store: SurrealStore, query: str, index: str) -> None:
    text = store._queries[query]
    selection = text[text.index("SELECT") : text.index("LIMIT $limit")] + "LIMIT $limit"
    plan = await store.database.read(f"{selection} EXPLAIN", limit=5)
    assert index_scans(plan) == [index], plan


async def test_a_job_is_due_once_its_time_has_come(store: SurrealStore) -> None:
    job = bench.new_job()
    await bench.grant(store, job.credits)
    await bench.reserve(store, job, grace_s=0.05)
    await bench.until_passed(store, (await bench.row(store, job.id))["due"])
    [found] = await store.due_jobs(10, DELAYS)
    assert (found.id, found.state) == (job.id, JobState.RESERVED)
    assert await due_ids(store) == [], "it was put off"


async def test_every_unfinished_state_becomes_due_and_no_final_one_does(
    store: SurrealStore,
) -> None:
    jobs = {state: (await job_in(store, state)).id for state in ALL_STATES}
    assert await due_ids(store) == []
    await make_all_due(store)
    assert sorted(await due_ids(store)) == sorted(jobs[state] for state in UNFINISHED)


@pytest.mark.parametrize("state", UNFINISHED)
async def test_a_parked_job_is_never_due(store: SurrealStore, state: JobState) -> None:
    job = await job_in(store, state)
    assert await store.park(job, "odd", leased=True)
    assert not await store.make_due(job.id)
    await make_all_due(store)
    assert await due_ids(store) == []


async def test_each_fruitless_look_puts_the_next_one_further_off(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    delays = (10.0, 20.0, 40.0)
    waits = []
    for _ in range(5):
        await make_all_due(store)
        [seen] = await store.due_jobs(10, delays)
        due = (await bench.row(store, job.id))["due"]
        waits.append(round((due - seen.read_at).total_seconds()))
    assert waits == [10, 20, 40, 40, 40]


async def test_a_move_starts_the_patience_anew(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTING)
    await make_all_due(store)
    await due_ids(store)
    assert (await bench.row(store, job.id))["sweeps"] == 1
    await bench.record(store, job)
    assert (await bench.row(store, job.id))["sweeps"] == 0


@pytest.mark.overlapping
async def test_concurrent_sweeps_share_the_work_and_never_double_it(store: SurrealStore) -> None:
    """F47: at the store."""
    made = {await bench.reserved_id(store) for _ in range(20)}
    await make_all_due(store)
    parts = await asyncio.gather(*(due_ids(store, limit=4) for _ in range(8)))
    taken = [each for part in parts for each in part]
    assert len(taken) == len(set(taken))
    assert set(taken) == made


async def test_a_batch_is_no_larger_than_asked_and_those_that_waited_longest_come_first(
    store: SurrealStore,
) -> None:
    """F83: their results expire first."""
    made = [(await job_in(store, JobState.SUBMITTED)).id for _ in range(4)]
    for age, job_id in enumerate(made, start=1):
        await store.database.write(
            f"UPDATE video_job SET due = time::now() - 1s, submitted_at = time::now() - {age}m"
            " WHERE record::id(id) = $id",
            id=job_id,
        )
    assert set(await due_ids(store, limit=2)) == set(made[2:])


async def test_those_that_were_looked_at_before_keep_no_fresh_one_waiting(
    store: SurrealStore,
) -> None:
    """F82: however many old ones there are, and however long they have waited."""
    stuck = [await bench.reserved_id(store) for _ in range(4)]
    await make_all_due(store)
    await due_ids(store)
    fresh = await bench.reserved_id(store)
    await make_all_due(store)
    assert await due_ids(store, limit=1) == [fresh]
    assert set(await due_ids(store)) == set(stuck)


async def test_what_is_paused_is_left_in_its_place(store: SurrealStore) -> None:
    waiting = await bench.reserved_id(store)
    other = await job_in(store, JobState.SUBMITTED)
    await make_all_due(store)
    before = await bench.row(store, waiting)
    found = await store.due_jobs(50, DELAYS, leave={JobState.RESERVED})
    assert [job.id for job in found] == [other.id]
    assert await bench.row(store, waiting) == before


async def test_a_hint_makes_a_job_due_now_unless_it_is_leased_or_ended(
    store: SurrealStore,
) -> None:
    waiting = await job_in(store, JobState.SUBMITTED)
    leased = await job_in(store, JobState.RENDERED)
    ended = await job_in(store, JobState.READY)
    assert await store.make_due(waiting.id)
    assert not await store.make_due(leased.id)
    assert not await store.make_due(ended.id)
    assert not await store.make_due("no-such-job")
    assert await due_ids(store) == [waiting.id]


async def test_a_leased_job_is_due_when_its_lease_is_over(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.rendered(store, job.id)
    await bench.leased(store, job.id, lease_s=0.05)
    facts = await bench.row(store, job.id)
    assert facts["due"] >= facts["lease_until"]
    await bench.until_passed(store, facts["due"])
    assert await due_ids(store) == [job.id]


async def test_a_lease_given_back_is_due_after_the_wait(store: SurrealStore) -> None:
    job = await job_in(store, JobState.RENDERED)
    assert await bench.give_back(store, job)
    assert await due_ids(store) == [job.id]


@pytest.mark.overlapping
async def test_due_deliveries_are_shared_and_put_off(store: SurrealStore) -> None:
    entries = [delivery(body=str(n).encode()) for n in range(12)]
    for entry in entries:
        await store.record_delivery(entry, grace_s=0)
    parts = await asyncio.gather(*(store.due_deliveries(3, retry_in_s=LONG_S) for _ in range(8)))
    taken = [each for part in parts for each in part]
    assert sorted(taken) == sorted(entry.entry_id for entry in entries)
    assert await store.due_deliveries(50, retry_in_s=LONG_S) == []


@pytest.mark.parametrize("ending", ["closed", "parked", "rendered", "failed", "void"])
async def test_a_handled_or_parked_delivery_is_never_due(store: SurrealStore, ending: str) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    entry = delivery(job.id)
    await store.record_delivery(entry, grace_s=0)
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "closed": lambda: store.close_delivery(entry.entry_id, "late"),
        "parked": lambda: store.park_delivery(entry.entry_id, "unreadable"),
        "rendered": lambda: bench.rendered(store, job.id, entry_id=entry.entry_id),
        "failed": lambda: bench.close(store, job.id, entry_id=entry.entry_id),
        "void": lambda: store.submission_void(
            job, "broke", retry_in_s=LONG_S, entry_id=entry.entry_id
        ),
    }
    await acts[ending]()
    await make_all_due(store)
    assert await store.due_deliveries(50, retry_in_s=1) == []
    assert await store.oldest_waiting_delivery_s() is None
    assert await store.take_delivery(entry.entry_id, retry_in_s=1) is None


async def test_health_tells_how_long_the_oldest_open_delivery_has_waited(
    store: SurrealStore,
) -> None:
    assert await store.oldest_waiting_delivery_s() is None
    entries = [delivery(body=b"1"), delivery(body=b"2")]
    for entry in entries:
        await store.record_delivery(entry, grace_s=LONG_S)
        started = await store.database.read("RETURN time::now()")
        await bench.until_passed(store, started + timedelta(seconds=1))
    waited = await store.oldest_waiting_delivery_s()
    assert waited is not None
    assert 2 <= waited < 60
    await store.close_delivery(entries[0].entry_id, "late")
    younger = await store.oldest_waiting_delivery_s()
    assert younger is not None
    assert 1 <= younger < waited
