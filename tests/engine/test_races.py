"""Several processes at the same rows, on the engine of production: once stays once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.adapters.store import SurrealStore
from service.domain.job import FINAL, Job, JobState
from service.ports import Applied, Reserved, Settled
from tests.store import bench
from tests.store.bench import LONG_S, PRICE, delivery, job_in

Racer = Callable[[SurrealStore, Job], Awaitable[Any]]


async def test_sixteen_finalisers_of_one_account_settle_each_job_once(
    stores: list[SurrealStore],
) -> None:
    """F59: all write one account row at once; conflicts are retried and no update is lost."""
    jobs = [await job_in(stores[0], JobState.RENDERED) for _ in range(16)]

    settled = await asyncio.gather(
        *(bench.settle(stores[at % len(stores)], job) for at, job in enumerate(jobs))
    )

    assert settled == [Settled.SETTLED] * 16
    assert await bench.credits_of(stores[0]) == (0, 0, 16 * PRICE, 16 * PRICE)
    assert await bench.violations(stores[0]) == []


async def test_many_reservations_with_credit_for_one_make_one(stores: list[SurrealStore]) -> None:
    """F11: one is made, the others hear that there is too little, and nothing is negative."""
    await bench.grant(stores[0], PRICE)

    outcomes = await asyncio.gather(
        *(bench.reserve(stores[at % len(stores)], bench.new_job()) for at in range(24))
    )

    assert Counter(outcomes) == {Reserved.RESERVED: 1, Reserved.INSUFFICIENT: 23}
    assert await bench.credits_of(stores[0]) == (0, PRICE, 0, PRICE)
    assert await bench.violations(stores[0]) == []


async def test_one_key_sent_by_many_is_one_job(stores: list[SurrealStore]) -> None:
    """The derived id has room for one job, whichever process it is sent to."""
    await bench.grant(stores[0], 100 * PRICE)
    new = bench.new_job()

    outcomes = await asyncio.gather(
        *(bench.reserve(stores[at % len(stores)], new) for at in range(20))
    )

    assert Counter(outcomes) == {Reserved.RESERVED: 1, Reserved.EXISTS: 19}
    assert await bench.credits_of(stores[0]) == (99 * PRICE, PRICE, 0, 100 * PRICE)
    assert await bench.violations(stores[0]) == []


def closing(to: JobState, **grounds: Any) -> Racer:
    async def close(store: SurrealStore, job: Job) -> Any:
        fence = job.fence if job.state is JobState.RENDERED else None
        return await bench.close(store, job.id, to, fence=fence, **grounds)

    return close


# Who may end a job, by the state it is in: a webhook's refusal, a sweep's, a cancel, a finaliser.
WON = (Applied.CLOSED, Settled.SETTLED)
RACES: dict[JobState, list[Racer]] = {
    JobState.SUBMITTED: [
        closing(JobState.FAILED, attempt=1, request_id="r"),
        closing(JobState.FAILED, attempt=1),
        closing(JobState.CANCELLED),
    ],
    JobState.RENDERED: [bench.settle, closing(JobState.FAILED), closing(JobState.CANCELLED)],
}


@pytest.mark.parametrize("state", RACES)
async def test_whoever_ends_a_job_first_ends_it_alone(
    stores: list[SurrealStore], state: JobState
) -> None:
    """F66: refusal, sweep and cancel at once, or capture against release: one settlement."""
    await race(stores, state, rounds=20)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("state", RACES)
async def test_whoever_ends_a_job_first_ends_it_alone_a_thousand_times(
    stores: list[SurrealStore], state: JobState
) -> None:
    """F66: the same race x 1,000."""
    await race(stores, state, rounds=1_000)


async def race(stores: list[SurrealStore], state: JobState, rounds: int) -> None:
    """Let all who may end a job try it at once, many jobs of one account at a time."""
    jobs = [await job_in(stores[0], state) for _ in range(rounds)]
    racers = RACES[state]

    async def end(at: int, job: Job) -> int:
        turn = at % len(racers)  # each is the first to be sent in its turn
        order = [*range(turn, len(racers)), *range(turn)]
        outcomes = await asyncio.gather(
            *(racers[who](stores[(at + who) % len(stores)], job) for who in order)
        )
        won: list[int] = [who for who, did in zip(order, outcomes, strict=True) if did in WON]
        assert len(won) == 1, outcomes
        return won[0]

    crowd = asyncio.Semaphore(len(stores))

    async def next_in_turn(at: int, job: Job) -> int:
        async with crowd:
            return await end(at, job)

    winners = Counter(await asyncio.gather(*(next_in_turn(*each) for each in enumerate(jobs))))
    assert len(winners) > 1, "a race that one side always wins is none"
    captured = winners[0] * PRICE if state is JobState.RENDERED else 0
    total = rounds * PRICE
    assert await bench.credits_of(stores[0]) == (total - captured, 0, captured, total)
    assert len(await bench.settlements(stores[0])) == rounds
    for job in jobs:
        assert (await stores[0].job(job.id)).state in FINAL
    assert await bench.violations(stores[0]) == []


async def test_eight_sweeps_take_each_due_job_once(stores: list[SurrealStore]) -> None:
    """F47: what one sweep takes is not due for the others."""
    jobs = [bench.new_job() for _ in range(60)]
    await bench.grant(stores[0], sum(job.credits for job in jobs))
    for job in jobs:
        assert await bench.reserve(stores[0], job, grace_s=0) is Reserved.RESERVED

    async def sweep(store: SurrealStore) -> list[str]:
        taken: list[str] = []
        while batch := await store.due_jobs(7, (LONG_S,)):
            taken += [job.id for job in batch]
            assert len(taken) <= len(jobs), "taken again"
        return taken

    shares = await asyncio.gather(*(sweep(store) for store in stores))

    assert sorted(name for share in shares for name in share) == sorted(job.id for job in jobs)
    assert sum(bool(share) for share in shares) > 1, "they shared the work"


async def test_fifty_identical_deliveries_at_once_are_one_row(stores: list[SurrealStore]) -> None:
    """F16: one of them is new, whichever process it reached."""
    job = await job_in(stores[0], JobState.SUBMITTED)

    created = await asyncio.gather(
        *(
            stores[at % len(stores)].record_delivery(delivery(job.id), grace_s=LONG_S)
            for at in range(50)
        )
    )

    assert Counter(created) == {True: 1, False: 49}
    rows = await stores[0].database.read("RETURN count(SELECT VALUE id FROM inbox)")
    assert rows == 1


async def test_one_lease_at_a_time_and_each_has_a_higher_fence(stores: list[SurrealStore]) -> None:
    """Of many who want to finalise a job one may; the next one's fence is higher."""
    job = await job_in(stores[0], JobState.RENDERED)  # leased by its maker
    for fence in (job.fence + 1, job.fence + 2):
        await stores[0].database.write("UPDATE video_job SET lease_until = time::now() - 1s")
        leases = await asyncio.gather(
            *(store.lease(job.id, "tests", lease_s=LONG_S) for store in stores)
        )
        assert [each.fence for each in leases if each is not None] == [fence]
