"""Deleting: what goes from a row and what stays, purges until they are done, closed accounts."""

import asyncio
from typing import Any

import pytest

from service.adapters.store import SurrealStore
from service.domain.inbox import Delivery
from service.domain.job import FINAL, IfFinished, Job, JobState
from service.domain.write_offs import Reason
from service.ports import Deleted, Recovered, Removals, Reserved, Settled
from tests.store import bench
from tests.store.bench import LONG_S, OWNER, PRICE, delivery, job_in
from tests.store.test_due import index_scans

DELAYS = (LONG_S, 2 * LONG_S)
ENDED = sorted(FINAL)
# What becomes of these is nobody's any more; all else tells where the credits went.
SCRUBBED = {"arguments", "source_url", "metadata", "last_problem"}
WRITTEN = {"deleted_at", "purge_due", "purge_attempts", "kept_since", "version", "updated_at"}


async def deleted_job(store: SurrealStore, state: JobState = JobState.READY, **new: Any) -> Job:
    job = await job_in(store, state, **new)
    assert await store.begin_delete(job.id) is Deleted.DELETED
    return job


async def taken(store: SurrealStore, job_id: str) -> Job:
    job = await store.take_purge(job_id, DELAYS)
    assert job is not None, "it was due"
    return job


async def purged_job(store: SurrealStore) -> Job:
    job = await taken(store, (await deleted_job(store)).id)
    assert await store.finish_purge(job, None)
    return job


async def recorded(store: SurrealStore, message: Delivery, outcome: str | None = "x") -> str:
    assert await store.record_delivery(message, grace_s=LONG_S)
    if outcome is not None:
        await store.close_delivery(message.entry_id, outcome)
    return message.entry_id


async def body(store: SurrealStore, entry_id: str) -> bytes:
    return (await store.delivery(entry_id)).body


async def due(store: SurrealStore) -> tuple[str, ...]:
    return (await store.due_removals(50)).jobs


async def make_due(store: SurrealStore) -> None:
    await store.database.write(
        "{ UPDATE video_job SET purge_due = time::now() - 1s WHERE purge_due != NONE;"
        " UPDATE account SET close_due = time::now() - 1s WHERE close_due != NONE; }"
    )


# ------------------------------------------------------------------------------------ deleting


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


# ------------------------------------------------------------------------------------- purging


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


# ---------------------------------------------------------------------------------- deliveries


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


async def test_which_requests_fal_has_forgotten_is_noted_once(store: SurrealStore) -> None:
    assert await store.note_forgotten("v1", "r1")
    assert not await store.note_forgotten("v2", "r1")
    assert await store.note_forgotten("v2", "r2")
    assert await store.forgotten(["r1", "r3"]) == {"r1"}
    assert await store.forgotten([]) == frozenset()
    rows = await store.database.read("SELECT VALUE record::id(job) FROM forgotten_request")
    assert sorted(rows) == ["v1", "v2"]


# ---------------------------------------------------------------------------------- late words


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


# ------------------------------------------------------------------------------ closed accounts


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
