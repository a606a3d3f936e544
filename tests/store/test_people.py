"""What a person sees and may do: parked jobs and deliveries, the lists of both, another start."""

import asyncio

import pytest

from service.adapters.store import SurrealStore
from service.domain.errors import NotFound
from service.domain.inbox import Delivery, InboxEntry
from service.domain.job import FINAL, Job, JobState
from service.domain.operators import JobFilter
from tests.store import bench
from tests.store.bench import LONG_S, delivery, job_in
from tests.store.test_due import index_scans

UNFINISHED = sorted(set(JobState) - FINAL)
COUNTS = ("submit_attempts", "finalise_attempts", "gone_attempts", "lookups", "sweeps")


async def parked_in(store: SurrealStore, state: JobState, reason: str = "odd") -> Job:
    job = await job_in(store, state)
    assert await store.park(job, reason, leased=True)
    return await store.job(job.id)


async def ids_of(
    store: SurrealStore, *, parked: bool = False, state: JobState | None = None, limit: int = 50
) -> list[str]:
    wanted = JobFilter(parked=parked, state=state, limit=limit)
    return [job.id for job in await store.list_jobs(wanted)]


async def recorded(store: SurrealStore, *messages: Delivery) -> list[str]:
    for message in messages:
        assert await store.record_delivery(message, grace_s=LONG_S)
    return [message.entry_id for message in messages]


async def entries(
    store: SurrealStore, *, parked: bool = False, job_id: str | None = None, limit: int = 50
) -> list[str]:
    found = await store.list_deliveries(parked=parked, job_id=job_id, limit=limit)
    return [entry.id for entry in found]


async def taken(store: SurrealStore, entry_id: str) -> InboxEntry:
    entry = await store.take_delivery(entry_id, retry_in_s=LONG_S)
    assert entry is not None
    return entry


# --------------------------------------------------------------------------------------- jobs


@pytest.mark.parametrize("state", UNFINISHED)
async def test_a_redriven_job_is_due_at_once_with_its_counts_begun_anew(
    store: SurrealStore, state: JobState
) -> None:
    job = await parked_in(store, state)
    await store.database.write(
        "UPDATE video_job SET finalise_attempts = 12, gone_attempts = 3, lookups = 3, sweeps = 9,"
        " looked_up_at = time::now()"
    )
    before = await bench.row(store, job.id)
    assert await store.redrive(job.id)
    after = await bench.row(store, job.id)
    assert [after[name] for name in COUNTS] == [before["submit_attempts"], 0, 0, 0, 0]
    assert (after["state"], after["parked"], after.get("parked_reason")) == (state, False, None)
    assert after.get("looked_up_at") is None, "the next look counts at once"
    assert (after["version"], after["fence"]) == (before["version"] + 1, before["fence"])
    assert [due.id for due in await store.due_jobs(9, (LONG_S,))] == [job.id]
    assert await bench.violations(store) == []


@pytest.mark.overlapping
async def test_of_two_who_redrive_at_once_one_does(store: SurrealStore) -> None:
    """F71: the second finds nothing parked, and one lease and one settlement follow."""
    job = await parked_in(store, JobState.RENDERED)
    done = await asyncio.gather(*(store.redrive(job.id) for _ in range(4)))
    assert done.count(True) == 1
    before = await bench.row(store, job.id)
    assert not await store.redrive(job.id)
    assert await bench.row(store, job.id) == before
    leases = await asyncio.gather(*(store.lease(job.id, "p", lease_s=LONG_S) for _ in range(4)))
    [holder] = [each for each in leases if each is not None]
    assert (holder.finalise_attempts, holder.fence) == (1, job.fence + 1)
    assert await bench.settle(store, holder) == "settled"
    assert len(await bench.settlements(store)) == 1
    assert await bench.violations(store) == []


async def test_only_what_is_parked_is_redriven(store: SurrealStore) -> None:
    for state in JobState:
        job = await job_in(store, state)
        before = await bench.row(store, job.id)
        assert not await store.redrive(job.id)
        assert await bench.row(store, job.id) == before, state
    assert not await store.redrive("no-such-job")


async def test_parked_jobs_are_listed_longest_first(store: SurrealStore) -> None:
    first, second, third = [
        await job_in(store, state)
        for state in (JobState.SUBMITTED, JobState.RESERVED, JobState.SUBMITTED)
    ]
    for job in (second, third, first):
        await store.park(job, "odd")
    await job_in(store, JobState.FAILED)
    assert await ids_of(store, parked=True) == [second.id, third.id, first.id]
    assert await ids_of(store, parked=True, limit=2) == [second.id, third.id]
    submitted = await ids_of(store, parked=True, state=JobState.SUBMITTED)
    assert submitted == [third.id, first.id]
    await store.redrive(second.id)
    assert await ids_of(store, parked=True) == [third.id, first.id]


async def test_all_jobs_are_listed_newest_first_whosever_they_are(store: SurrealStore) -> None:
    made = [
        await job_in(store, JobState.SUBMITTED),
        await job_in(store, JobState.READY, email="ben@example.com"),
        await parked_in(store, JobState.SUBMITTED),
    ]
    newest_first = [job.id for job in reversed(made)]
    assert await ids_of(store) == newest_first
    assert await ids_of(store, limit=1) == newest_first[:1]
    assert await ids_of(store, state=JobState.READY) == [made[1].id]
    assert await ids_of(store, state=JobState.FAILED) == []


async def test_a_job_shows_its_reservation_and_its_settlement(store: SurrealStore) -> None:
    job = await job_in(store, JobState.READY)
    await job_in(store, JobState.FAILED)
    assert sorted(entry.kind for entry in await store.job_ledger(job.id)) == ["capture", "reserve"]
    waiting = await job_in(store, JobState.SUBMITTED)
    assert [entry.kind for entry in await store.job_ledger(waiting.id)] == ["reserve"]
    assert await store.job_ledger("no-such-job") == []


async def test_a_late_job_shows_its_own_reservation(store: SurrealStore) -> None:
    job = await job_in(store, JobState.FAILED)
    await bench.recover(store, job)
    late = bench.successor(job.id).job_id
    assert [entry.kind for entry in await store.job_ledger(late)] == ["reserve"]
    assert sorted(entry.kind for entry in await store.job_ledger(job.id)) == ["release", "reserve"]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("list_parked_deliveries", "inbox_parked"),
        ("list_waiting_deliveries", "inbox_due"),
        ("list_recent_deliveries", "inbox_received"),
        ("list_deliveries_of", "inbox_job"),
        ("read_actions", "operator_action_at"),
    ],
)
async def test_lists_are_found_by_index(store: SurrealStore, query: str, index: str) -> None:
    text = store._queries[query].rstrip("; \n")
    plan = await store.database.read(f"{text} EXPLAIN", limit=5, job=None)
    assert index_scans(plan) == [index], plan


# ---------------------------------------------------------------------------------- deliveries


async def test_waiting_deliveries_are_listed_oldest_first(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    messages = [delivery(job.id, body=b"%d" % n) for n in range(4)]
    first, handled, parked, last = await recorded(store, *messages)
    other = (await recorded(store, delivery("another-job")))[0]
    await store.close_delivery(handled, "late")
    await store.park_delivery(parked, "unreadable")
    assert await entries(store) == [first, last, other]
    assert await entries(store, limit=1) == [first]
    assert await entries(store, job_id=job.id) == [first, handled, parked, last]
    assert await entries(store, job_id=job.id, limit=2) == [first, handled]
    assert await entries(store, parked=True) == [parked]


async def test_parked_deliveries_are_listed_oldest_first_until_they_are_handled(
    store: SurrealStore,
) -> None:
    """One that is parked while a slow worker is at it may be handled all the same."""
    names = await recorded(store, *(delivery(body=b"%d" % n) for n in range(3)))
    for name in reversed(names):
        await store.park_delivery(name, "unreadable")
    assert await entries(store, parked=True) == names
    assert await entries(store, parked=True, limit=1) == names[:1]
    await store.close_delivery(names[0], "rendered")
    assert await entries(store, parked=True) == names[1:]


async def test_one_delivery_is_shown_with_its_body(store: SurrealStore) -> None:
    message = delivery(body=b"\xff{}")
    [name] = await recorded(store, message)
    entry = await store.delivery(name)
    assert (entry.id, entry.body, entry.attempts) == (name, message.body, 0)
    with pytest.raises(NotFound):
        await store.delivery("nothing")


@pytest.mark.overlapping
async def test_a_redriven_delivery_is_due_at_once_as_if_new(store: SurrealStore) -> None:
    [name] = await recorded(store, delivery())
    await taken(store, name)
    assert not await store.redrive_delivery(name), "it is not parked"
    assert (await store.delivery(name)).attempts == 1
    await store.park_delivery(name, "unreadable")
    done = await asyncio.gather(*(store.redrive_delivery(name) for _ in range(4)))
    assert done.count(True) == 1
    entry = await store.delivery(name)
    assert (entry.parked, entry.outcome, entry.attempts) == (False, None, 0)
    assert await store.due_deliveries(9, retry_in_s=LONG_S) == [name]
    assert await bench.violations(store) == []


async def test_a_handled_delivery_is_never_redriven(store: SurrealStore) -> None:
    [name] = await recorded(store, delivery())
    await store.park_delivery(name, "unreadable")
    await store.close_delivery(name, "seen to")
    assert not await store.redrive_delivery(name)
    assert (await store.delivery(name)).outcome == "seen to"
    assert not await store.redrive_delivery("nothing")
    assert await store.due_deliveries(9, retry_in_s=1) == []


async def test_an_attempt_that_says_nothing_about_a_delivery_is_taken_back(
    store: SurrealStore,
) -> None:
    [name] = await recorded(store, delivery())
    await taken(store, name)
    assert (await taken(store, name)).attempts == 2
    assert await store.put_off_delivery(name, retry_in_s=0)
    assert (await store.delivery(name)).attempts == 1
    assert await store.due_deliveries(9, retry_in_s=LONG_S) == [name], "after the wait"
    for _ in range(2):
        assert await store.put_off_delivery(name, retry_in_s=LONG_S)
    assert (await store.delivery(name)).attempts == 0
    assert await store.due_deliveries(9, retry_in_s=1) == []


@pytest.mark.parametrize("ending", ["handled", "parked"])
async def test_a_delivery_that_is_handled_or_parked_is_not_put_off(
    store: SurrealStore, ending: str
) -> None:
    [name] = await recorded(store, delivery())
    await taken(store, name)
    if ending == "handled":
        await store.close_delivery(name, "late")
    else:
        await store.park_delivery(name, "unreadable")
    assert not await store.put_off_delivery(name, retry_in_s=0)
    assert (await store.delivery(name)).attempts == 1
    assert await store.due_deliveries(9, retry_in_s=1) == []
    assert not await store.put_off_delivery("nothing", retry_in_s=0)
