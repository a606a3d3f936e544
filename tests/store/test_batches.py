"""What is asked for at the same time is answered by few calls, and each as if it were alone."""

import asyncio

import pytest

from service.adapters.store import SurrealStore
from service.adapters.store.batches import AT_MOST, AT_ONCE, Asked, Batches
from service.domain.errors import NotFound, Transient
from service.domain.job import JobState
from tests.store.bench import job_in, unknown

MANY = 60
WAIT_S = 60


class Doubling:
    """Answers with the double, all of a call's once `gate` opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.calls: list[list[int]] = []
        self.now = 0
        self.most = 0

    async def __call__(self, asked: Asked[int, int]) -> None:
        self.calls.append([item for item, _ in asked])
        self.now += 1
        self.most = max(self.most, self.now)
        await self.gate.wait()
        self.now -= 1
        for item, told in asked:
            if item < 0:
                raise Transient("nothing below zero")
            if not told.done():
                told.set_result(2 * item)


async def asked(batches: Batches[int, int], *items: int) -> list[int | BaseException]:
    async with asyncio.timeout(WAIT_S):
        return await asyncio.gather(*map(batches.ask, items), return_exceptions=True)


async def test_few_calls_at_a_time_answer_everybody() -> None:
    act = Doubling()
    batches = Batches(act)
    waiting = []
    for each in range(MANY):  # one after another, so that each could begin a call of its own
        waiting.append(asyncio.create_task(batches.ask(each)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    act.gate.set()
    async with asyncio.timeout(WAIT_S):
        assert await asyncio.gather(*waiting) == [2 * each for each in range(MANY)]
    assert act.most == AT_ONCE
    assert max(map(len, act.calls)) == AT_MOST
    assert sum(map(len, act.calls)) == MANY


async def test_a_call_that_fails_fails_those_who_were_not_answered_yet() -> None:
    act = Doubling()
    act.gate.set()
    one, two, *rest = await asked(Batches(act), 1, 2, -1, 4)
    assert (one, two) == (2, 4)
    assert {type(each) for each in rest} == {Transient}


async def test_after_a_failure_the_next_are_answered() -> None:
    act = Doubling()
    act.gate.set()
    batches = Batches(act)
    for _ in range(2 * AT_ONCE):
        assert isinstance((await asked(batches, -1))[0], Transient)
        assert await asked(batches, 3) == [6]


@pytest.mark.overlapping
async def test_jobs_read_at_once_are_few_queries_and_each_its_own(store: SurrealStore) -> None:
    """Also those that are not there, and those that several ask for."""
    made = [await job_in(store, JobState.SUBMITTING) for _ in range(5)]
    names = [made[at % len(made)].id if at % 3 else f"none{at}" for at in range(MANY)]
    before = store.database.calls
    told = await asyncio.gather(*map(store.job, names), return_exceptions=True)
    assert store.database.calls - before <= MANY / 4
    for name, found in zip(names, told, strict=True):
        if name.startswith("none"):
            assert isinstance(found, NotFound)
        else:
            assert not isinstance(found, BaseException)
            assert found.id == name


async def test_whoever_wrote_reads_it(store: SurrealStore) -> None:
    """However many read the same job meanwhile."""
    job = await job_in(store, JobState.SUBMITTING)
    others = [asyncio.create_task(store.job(job.id)) for _ in range(MANY)]
    await unknown(store, job)
    assert (await store.job(job.id)).state is JobState.SUBMIT_UNKNOWN
    await asyncio.gather(*others)
