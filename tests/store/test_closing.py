"""Closing an account: nothing is reserved any more, and every job of it is found."""

import asyncio

import pytest

from service.adapters.store import SurrealStore
from service.domain.job import IfFinished, JobState
from service.ports import Removals, Reserved
from tests.store import bench
from tests.store.bench import LONG_S, OWNER, PRICE, job_in
from tests.store.deleting import (
    make_due,
)


async def test_a_closed_account_reserves_nothing_and_keeps_its_credits(
    store: SurrealStore,
) -> None:
    await bench.grant(store, PRICE)
    before = await bench.credits_of(store)
    assert await store.close_account("ANA@example.com")
    assert await bench.reserve(store, bench.new_job()) is Reserved.CLOSED
    assert await bench.credits_of(store) == before
    assert not await store.close_account("nobody@example.com")
    await bench.grant(store, PRICE, "ben@example.com")
    assert await bench.reserve(store, bench.new_job(email="ben@example.com")) is Reserved.RESERVED


async def test_a_repeated_close_keeps_its_instant_and_looks_again(store: SurrealStore) -> None:
    await bench.grant(store, PRICE)
    await store.close_account(OWNER)
    [first] = await store.database.read("SELECT * FROM account")
    assert await store.take_closing(OWNER, 9, retry_in_s=LONG_S) == []
    assert await store.due_removals(9) == Removals(jobs=(), accounts=())
    await store.close_account(OWNER)
    [again] = await store.database.read("SELECT * FROM account")
    assert again["closed_at"] == first["closed_at"]
    assert (await store.due_removals(9)).accounts == (OWNER,)


@pytest.mark.overlapping
async def test_an_order_and_a_close_at_once_leave_no_job_behind(store: SurrealStore) -> None:
    """Whatever is reserved is found by whoever empties the account, since both write its row."""
    await bench.grant(store, PRICE)
    job = bench.new_job()
    said, closed = await asyncio.gather(bench.reserve(store, job), store.close_account(OWNER))
    assert closed
    found = await store.take_closing(OWNER, 9, retry_in_s=LONG_S)
    assert found is not None
    assert [each.id for each in found] == ([job.id] if said is Reserved.RESERVED else [])


async def closing(store: SurrealStore, limit: int = 50) -> set[str]:
    """The jobs that something can be done about now."""
    found = await store.take_closing(OWNER, limit, retry_in_s=LONG_S)
    assert found is not None
    return {each.id for each in found}


async def test_what_can_be_done_about_is_what_is_found(store: SurrealStore) -> None:
    jobs = {state: await job_in(store, state) for state in JobState}
    stranger = await job_in(store, JobState.READY, email="ben@example.com")
    parked = await job_in(store, JobState.RENDERED)
    await store.park(parked, "odd", leased=True)
    given_up = {choice: await job_in(store, JobState.SUBMITTED) for choice in IfFinished}
    for choice, job in given_up.items():
        await bench.cancel(store, job.id, choice)
    cancelled = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, cancelled.id, IfFinished.DISCARD)
    await bench.close(store, cancelled.id, JobState.CANCELLED)
    await store.close_account(OWNER)
    found = await closing(store)
    waits = {jobs[JobState.RENDERED].id, given_up[IfFinished.DISCARD].id}
    mine = {job.id for job in [*jobs.values(), parked, cancelled, *given_up.values()]}
    assert found == mine - waits
    assert stranger.id not in found
    assert await store.count_jobs(OWNER) == len(mine)
    await store.begin_delete(jobs[JobState.READY].id)
    await make_due(store)
    assert await closing(store) == found - {jobs[JobState.READY].id}
    assert await store.count_jobs(OWNER) == len(mine) - 1


@pytest.mark.overlapping
async def test_a_deleted_job_hides_no_other_of_its_closed_account(store: SurrealStore) -> None:
    """3.0.2 counts what a LIMIT allows before it tries a condition that is not the index's own."""
    older, newer = [await job_in(store, JobState.READY) for _ in range(2)]
    await store.begin_delete(older.id)
    await store.close_account(OWNER)
    assert await closing(store, 1) == {newer.id}
    assert (await store.due_removals(9)).accounts == ()
    await make_due(store)
    assert (await store.due_removals(9)).accounts == (OWNER,)


async def test_a_closed_account_is_due_until_no_job_of_it_is_left(store: SurrealStore) -> None:
    waiting = await job_in(store, JobState.RENDERED)
    await job_in(store, JobState.READY, email="ben@example.com")
    await store.close_account(OWNER)
    assert await closing(store) == set()
    assert await store.take_closing(OWNER, 9, retry_in_s=1) is None, "it is put off"
    await make_due(store)
    assert (await store.due_removals(9)).accounts == (OWNER,), "what is left may end later"
    await bench.settle(store, waiting)
    assert await closing(store) == {waiting.id}
    await store.begin_delete(waiting.id)
    await make_due(store)
    assert await closing(store) == set()
    await make_due(store)
    assert (await store.due_removals(9)).accounts == ()
    assert await store.take_closing(OWNER, 9, retry_in_s=1) is None


async def test_a_closed_account_is_put_off_while_others_are_looked_at(store: SurrealStore) -> None:
    await job_in(store, JobState.RENDERED)
    await store.close_account(OWNER)
    await closing(store)
    assert (await store.due_removals(9)).accounts == ()


async def test_an_open_account_is_never_emptied(store: SurrealStore) -> None:
    await job_in(store, JobState.READY)
    assert await store.take_closing(OWNER, 9, retry_in_s=1) is None
    await store.database.write("UPDATE account SET close_due = time::now() - 1s")
    assert await store.take_closing(OWNER, 9, retry_in_s=1) is None


async def test_a_look_takes_no_more_than_asked(store: SurrealStore) -> None:
    for _ in range(3):
        await job_in(store, JobState.FAILED)
    await store.close_account(OWNER)
    assert len(await closing(store, limit=2)) == 2
