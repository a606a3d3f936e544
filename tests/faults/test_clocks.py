"""Clocks that are wrong: instants and leases are the database's, so ours may say what it likes."""

import re
import time
from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import pytest

from service.adapters.surreal_connection import Connection
from service.flows.finalise import finalise
from tests.faults.steps import accepted, rendered, sweep_now, until_fal_is_done
from tests.world import World

DAY_S: Final = 86_400
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:")


def values(given: Any) -> Iterator[Any]:
    if isinstance(given, dict):
        for each in given.values():
            yield from values(each)
    elif isinstance(given, list | tuple):
        for each in given:
            yield from values(each)
    else:
        yield given


async def test_no_instant_of_ours_reaches_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F84: on a whole job's road, lost webhook included, only durations are sent."""
    sent: list[Any] = []
    real = Connection.call

    async def noted(self: Any, statement: str, params: Any, *args: Any, **named: Any) -> list[Any]:
        sent.extend([statement, *values(dict(params))])
        return await real(self, statement, params, *args, **named)

    monkeypatch.setattr(Connection, "call", noted)
    job_id = await accepted(world, "drop")
    await until_fal_is_done(world)
    await sweep_now(world, job_id)
    await world.grant(100)
    await world.submit()
    await world.quiet()

    assert len(sent) > 50
    assert [each for each in sent if isinstance(each, date)] == []
    texts = [each for each in sent if isinstance(each, str)]
    assert [each for each in texts if _INSTANT.search(each.replace("1970-01-01T00:", ""))] == []
    around = (int(time.time()) - DAY_S, int(time.time()) + DAY_S)
    numbers = [each for each in sent if isinstance(each, int | float)]
    assert [each for each in numbers if around[0] < each % 10**10 < around[1]] == []


@pytest.mark.parametrize("off_by_s", [DAY_S, -DAY_S], ids=["a day ahead", "a day behind"])
async def test_a_process_with_a_wrong_clock_neither_steals_nor_keeps_a_lease(
    world: World, monkeypatch: pytest.MonkeyPatch, off_by_s: int
) -> None:
    """F84: a lease ends by the database's time, for its holder and for everybody else."""
    job_id = await rendered(world)
    store, real = world.runtime.store, time.time
    monkeypatch.setattr(time, "time", lambda: real() + off_by_s)
    assert await store.lease(job_id, "another host", lease_s=600)
    assert not await finalise(world.runtime.services, job_id, "me"), "it has not run out"
    await sweep_now(world, job_id)
    held = await store.job(job_id)
    assert held.fence == 1

    assert await store.give_back(held, "by a test", retry_in_s=0, counted=False)
    assert await store.lease(job_id, "another host", lease_s=0)
    assert await finalise(world.runtime.services, job_id, "me"), "it has run out"

    assert (await store.job(job_id)).fence == 3
    assert await world.money() == (60, 0, 40)
    assert (await world.audit()).violations == []
