"""Every move against every state: what NEXT allows happens, anything else changes nothing."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.adapters.rows import account_record, job_record, library_record
from service.adapters.store import SurrealStore
from service.domain.errors import ServiceError
from service.domain.job import FINAL, SETTLES, STATUS, Job, JobState, enters_from
from service.ports import Applied
from tests.store import bench
from tests.store.bench import ALL_STATES, LONG_S, PRICE, job_in

Act = Callable[[SurrealStore, Job], Awaitable[Any]]


async def close(store: SurrealStore, job: Job, to: JobState) -> Applied:
    """Only the holder of its lease may close a rendered job."""
    fence = job.fence if job.state is JobState.RENDERED else None
    return await bench.close(store, job.id, to, fence=fence)


async def park(store: SurrealStore, job: Job, reason: str = "odd") -> bool:
    return await store.park(job, reason, leased=job.state is JobState.RENDERED)


MOVES: dict[str, tuple[JobState, Act]] = {
    "begin": (JobState.SUBMITTING, lambda store, job: bench.begin(store, job.id)),
    "record": (JobState.SUBMITTED, bench.record),
    "unknown": (JobState.SUBMIT_UNKNOWN, bench.unknown),
    "void": (JobState.RESERVED, bench.void),
    "rendered": (JobState.RENDERED, lambda store, job: bench.rendered(store, job.id)),
    "settle": (JobState.READY, bench.settle),
    "fail": (JobState.FAILED, lambda store, job: close(store, job, JobState.FAILED)),
    "cancel": (JobState.CANCELLED, lambda store, job: close(store, job, JobState.CANCELLED)),
}
RENDERED_ONLY = frozenset({JobState.RENDERED})
UNFINISHED = frozenset(ALL_STATES) - FINAL

# Writes that keep the state: the states they may write in.
NOTES: dict[str, tuple[frozenset[JobState], Act]] = {
    "heartbeat": (
        RENDERED_ONLY,
        lambda store, job: store.heartbeat(job.id, job.fence, lease_s=2 * LONG_S),
    ),
    "give_back": (
        RENDERED_ONLY,
        bench.give_back,
    ),
    "new_source": (
        RENDERED_ONLY,
        lambda store, job: store.new_source(job.id, job.fence, "https://v3.fal.media/other.mp4"),
    ),
    "park": (UNFINISHED, park),
    "make_due": (
        UNFINISHED - RENDERED_ONLY,  # the rendered one here is leased
        lambda store, job: store.make_due(job.id),
    ),
    "count_lookup": (
        frozenset({JobState.SUBMIT_UNKNOWN, JobState.SUBMITTED}),
        lambda store, job: store.count_lookup(job, apart_s=0, again_in_s=LONG_S),
    ),
    "request_cancel": (
        UNFINISHED - RENDERED_ONLY,
        lambda store, job: bench.cancel(store, job.id),
    ),
    "cancel_accepted": (frozenset({JobState.SUBMITTED}), bench.accepted),
    "redrive": (frozenset(), lambda store, job: store.redrive(job.id)),  # none is parked
    "begin_afterwards": (
        frozenset({JobState.READY}),
        lambda store, job: store.begin_afterwards(job.id, [LONG_S]),
    ),
    "set_thumbnail": (
        frozenset({JobState.READY}),
        lambda store, job: store.set_thumbnail(job.id, "users/0/library/x.jpg"),
    ),
    "drop_thumbnail": (
        frozenset({JobState.READY}),
        lambda store, job: store.drop_thumbnail(job.id),
    ),
}


@pytest.mark.parametrize("name", MOVES)
async def test_a_move_happens_once_from_the_states_that_allow_it_and_from_no_other(
    store: SurrealStore, name: str
) -> None:
    to, act = MOVES[name]
    for state in ALL_STATES:
        job = await job_in(store, state)
        before = await bench.row(store, job.id)
        await act(store, job)
        after = await bench.row(store, job.id)
        if state in enters_from(to):
            assert after["state"] == to, (state, to)
            assert after["version"] == before["version"] + 1
            assert after["updated_at"] > before["updated_at"]
            await act(store, job)  # again: nothing more
            assert await bench.row(store, job.id) == after, (state, to)
        else:
            assert after == before, (state, to)
    assert await bench.violations(store) == []


@pytest.mark.parametrize("name", NOTES)
async def test_a_note_is_written_only_in_its_states_and_never_moves_the_job(
    store: SurrealStore, name: str
) -> None:
    states, act = NOTES[name]
    for state in ALL_STATES:
        job = await job_in(store, state)
        before = await bench.row(store, job.id)
        answer = await act(store, job)
        after = await bench.row(store, job.id)
        assert after["state"] == state
        assert (after != before) == (state in states) == bool(answer), (state, answer)


@pytest.mark.parametrize("state", ALL_STATES)
async def test_status_follows_state_as_the_domain_says(
    store: SurrealStore, state: JobState
) -> None:
    job = await job_in(store, state)
    assert job.status is STATUS[state]
    # The schema derives it: a client that writes it changes nothing.
    await store.database.write("UPDATE video_job SET status = 'completed'")
    assert (await store.job(job.id)).status is STATUS[state]


@pytest.mark.parametrize("state", ALL_STATES)
async def test_money_follows_state(store: SurrealStore, state: JobState) -> None:
    await job_in(store, state)
    expected = {None: (0, PRICE, 0), "capture": (0, 0, PRICE), "release": (PRICE, 0, 0)}
    settlement = SETTLES.get(state)
    assert (await bench.credits_of(store))[:3] == expected[settlement]
    assert await bench.settlements(store) == ([] if settlement is None else [(settlement, PRICE)])


@pytest.mark.parametrize("name", MOVES)
async def test_moves_on_a_job_that_is_not_there_do_nothing(store: SurrealStore, name: str) -> None:
    _, act = MOVES[name]
    ghost = dataclasses.replace(await job_in(store, JobState.SUBMITTING), id="no-such-job")
    answer = await act(store, ghost)
    assert answer in (None, False, Applied.UNKNOWN_JOB, "stale")
    assert await store.database.read("RETURN count(SELECT VALUE id FROM video_job)") == 1
    assert await bench.settlements(store) == []


REFUSED_WHILE_PARKED = {
    "begin": JobState.RESERVED,
    "record": JobState.SUBMITTING,
    "unknown": JobState.SUBMITTING,
    "void": JobState.SUBMITTED,
    "count_lookup": JobState.SUBMIT_UNKNOWN,
    "request_cancel": JobState.SUBMITTED,
    "cancel_accepted": JobState.SUBMITTED,
}


@pytest.mark.parametrize("name", REFUSED_WHILE_PARKED)
async def test_a_parked_job_is_moved_by_no_machinery(store: SurrealStore, name: str) -> None:
    """`parked` waits for a person: due_jobs must not return it, so no move may make it due."""
    _, act = {**MOVES, **NOTES}[name]
    job = await job_in(store, REFUSED_WHILE_PARKED[name])
    assert await park(store, job)
    await act(store, job)
    after = await bench.row(store, job.id)
    assert (after["parked"], after.get("due")) == (True, None)


async def test_a_job_settled_while_parked_is_no_longer_parked(store: SurrealStore) -> None:
    """Whoever holds the fence may finish although the job was parked meanwhile."""
    job = await job_in(store, JobState.RENDERED)
    assert await park(store, job)
    await bench.settle(store, job)
    assert await bench.violations(store) == []


async def test_a_settlement_that_cannot_add_to_the_library_charges_nothing(
    store: SurrealStore,
) -> None:
    """F60: charge and library row are one transaction, whichever of its statements fails."""
    job = await job_in(store, JobState.RENDERED)
    before, held = await bench.row(store, job.id), await store.balance(job.email)
    await store.database.write(
        "CREATE $library SET account = $account, job = $job, object_key = 'in the way'",
        library=library_record(job.id),
        account=account_record(job.email),
        job=job_record(job.id),
    )
    with pytest.raises(ServiceError):
        await bench.settle(store, job)
    assert await bench.row(store, job.id) == before
    assert await store.balance(job.email) == held
    kinds = [entry.kind.value for entry in await store.job_ledger(job.id)]
    assert kinds == ["reserve"]


async def test_a_parked_job_gets_no_lease(store: SurrealStore) -> None:
    job = await job_in(store, JobState.RENDERED)
    assert await park(store, job)
    assert await store.lease(job.id, "tests", lease_s=1) is None


@pytest.mark.parametrize("to", [JobState.FAILED, JobState.CANCELLED, JobState.RENDERED])
async def test_a_verdict_ends_the_parking(store: SurrealStore, to: JobState) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    assert await park(store, job)
    if to is JobState.RENDERED:
        await bench.rendered(store, job.id)
    else:
        await bench.close(store, job.id, to)
    after = await store.job(job.id)
    assert (after.state, after.parked, after.parked_reason) == (to, False, None)
    assert await bench.violations(store) == []


async def test_a_park_decided_in_another_state_is_refused(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTING)
    await bench.record(store, job)
    assert not await store.park(job, "odd")
    assert not (await store.job(job.id)).parked


@pytest.mark.parametrize("state", sorted(FINAL))
async def test_a_job_that_has_ended_is_never_parked(store: SurrealStore, state: JobState) -> None:
    job = await job_in(store, state)
    await park(store, job)
    assert not (await store.job(job.id)).parked
    assert await bench.violations(store) == []


async def test_a_park_keeps_its_first_reason_and_the_reservation(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    assert await store.park(job, "first")
    assert not await store.park(job, "second")
    assert (await store.job(job.id)).parked_reason == "first"
    assert await bench.credits_of(store) == (0, PRICE, 0, PRICE)
