"""Pauses: shared by all, one alarm, one probe at a time, longer after each that failed."""

import asyncio
from collections import Counter

import pytest

from service.adapters.store import SurrealStore
from service.domain.pauses import Activity, Gate
from tests.store import bench
from tests.store.bench import LONG_S

SUBMITTING, FINALISING = Activity.SUBMITTING, Activity.FINALISING
DELAYS = (100.0, 200.0, 400.0)
SLOW_S = 30  # a busy machine's seconds do not pass for another delay


async def pause(
    store: SurrealStore, activity: Activity = SUBMITTING, *, probed: bool = False
) -> bool:
    return await store.pause(activity, "401", delays_s=DELAYS, probed=probed)


async def gate(
    store: SurrealStore, activity: Activity = SUBMITTING, *, probe_s: float = LONG_S
) -> Gate:
    return await store.gate(activity, probe_s=probe_s)


async def time_passes(store: SurrealStore) -> None:
    await store.database.write("UPDATE pause SET until = time::now() - 1s")


async def wait_s(store: SurrealStore) -> int:
    """How long it is to the next probe."""
    left = await store.database.read("SELECT VALUE duration::secs(until - time::now()) FROM pause")
    return int(left[0])


async def test_what_is_not_paused_is_open_for_everybody(store: SurrealStore) -> None:
    assert {await gate(store) for _ in range(3)} == {Gate.OPEN}
    assert await store.pauses() == []


@pytest.mark.overlapping
async def test_of_twenty_that_fail_at_once_one_raises_the_alarm(store: SurrealStore) -> None:
    first = await asyncio.gather(*(pause(store) for _ in range(20)))
    assert first.count(True) == 1
    [found] = await store.pauses()
    assert (found.activity, found.reason, found.shut) == (SUBMITTING, "401", True)
    assert found.failures == 1, "those that were under way already add nothing"
    assert await wait_s(store) == pytest.approx(100, abs=SLOW_S)


async def test_one_activity_says_nothing_about_another(store: SurrealStore) -> None:
    await pause(store)
    assert await gate(store) is Gate.SHUT
    assert await gate(store, FINALISING) is Gate.OPEN
    assert await pause(store, FINALISING)
    assert await store.resume(SUBMITTING)
    assert [each.activity for each in await store.pauses()] == [FINALISING]


async def test_a_paused_activity_is_shut_until_its_time_is_over(store: SurrealStore) -> None:
    await pause(store)
    before = await store.pauses()
    assert {await gate(store) for _ in range(3)} == {Gate.SHUT}
    assert await store.pauses() == before
    await time_passes(store)
    [found] = await store.pauses()
    assert not found.shut, "a sweep may take its jobs again"
    assert await gate(store) is Gate.PROBE


@pytest.mark.overlapping
async def test_of_twenty_at_the_gate_when_a_pause_is_over_one_goes_first(
    store: SurrealStore,
) -> None:
    await pause(store)
    for _ in range(2):  # the second time because the first probe never came back
        await time_passes(store)
        answers = await asyncio.gather(*(gate(store) for _ in range(20)))
        assert Counter(answers) == {Gate.PROBE: 1, Gate.SHUT: 19}
        assert (await store.pauses())[0].shut


async def test_a_probe_has_the_time_it_was_given(store: SurrealStore) -> None:
    await pause(store)
    await time_passes(store)
    assert await gate(store, probe_s=0.05) is Gate.PROBE
    [found] = await store.pauses()
    await bench.until_passed(store, found.until)
    assert await gate(store) is Gate.PROBE


async def test_each_failed_probe_makes_the_pause_longer(store: SurrealStore) -> None:
    await pause(store)
    waits = []
    for reason in ("401", "402", "403"):
        await time_passes(store)
        assert await gate(store) is Gate.PROBE
        assert not await store.pause(SUBMITTING, reason, delays_s=DELAYS, probed=True)
        waits.append(await wait_s(store))
    assert waits == pytest.approx([200, 400, 400], abs=SLOW_S)
    [found] = await store.pauses()
    assert (found.failures, found.reason) == (4, "403")


async def test_a_failure_from_before_the_probe_does_not_lengthen_the_pause(
    store: SurrealStore,
) -> None:
    await pause(store)
    await time_passes(store)
    assert await gate(store) is Gate.PROBE
    before = await store.pauses()
    assert not await pause(store, probed=False)
    assert await store.pauses() == before


@pytest.mark.overlapping
async def test_what_works_again_is_open_and_its_next_failure_an_alarm(
    store: SurrealStore,
) -> None:
    await pause(store)
    resumed = await asyncio.gather(*(store.resume(SUBMITTING) for _ in range(5)))
    assert resumed.count(True) == 1, "one of them says so"
    assert await gate(store) is Gate.OPEN
    assert await pause(store, probed=True), "whoever failed: it was open"
