"""While deliveries arrive, recording them comes first."""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from service import worker
from service.ports import Services
from service.worker import DELIVERY_WORKERS, MAX_BREATH_S, Nudges, running_worker

BURST = 3 * DELIVERY_WORKERS
NOBODY = cast("Services", None)  # the handling is the test's own


@dataclass
class Handling:
    """Stands for the handling of a delivery; it ends once several have been let begin."""

    now: int = 0
    most: int = 0
    done: list[str] = field(default_factory=list)

    async def __call__(self, _services: Services, entry_id: str) -> bool:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(20):  # let every other worker begin that may
            await asyncio.sleep(0)
        self.now -= 1
        self.done.append(entry_id)
        return True


@pytest.fixture
def handling(monkeypatch: pytest.MonkeyPatch) -> Handling:
    stand_in = Handling()
    monkeypatch.setattr(worker, "handle", stand_in)
    return stand_in


def nudge(nudges: Nudges) -> list[str]:
    names = [f"d-{number}" for number in range(BURST)]
    for each in names:
        nudges.delivery(each)
    return names


async def test_in_a_burst_one_delivery_is_handled_at_a_time(handling: Handling) -> None:
    nudges = Nudges()
    async with running_worker(NOBODY, nudges, "me"), asyncio.timeout(20):
        with nudges.arrival():
            names = nudge(nudges)
            await nudges.quiet()
    assert (handling.most, handling.done) == (1, names)


async def test_in_a_burst_handling_takes_a_third_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After each it rests for twice as long as that took."""
    ran: list[tuple[float, float]] = []

    async def slowly(*_: object) -> bool:
        began = time.monotonic()
        await asyncio.sleep(0.005)
        ran.append((began, time.monotonic()))
        return True

    monkeypatch.setattr(worker, "handle", slowly)
    nudges = Nudges()
    async with running_worker(NOBODY, nudges, "me"), asyncio.timeout(60):
        with nudges.arrival():
            nudge(nudges)
            await nudges.quiet()
    assert len(ran) == BURST
    for (began, ended), (next_began, _) in itertools.pairwise(ran):
        assert next_began - ended >= min(2 * (ended - began), MAX_BREATH_S) * 0.9


async def test_otherwise_as_many_as_there_are_workers(handling: Handling) -> None:
    nudges = Nudges()
    async with running_worker(NOBODY, nudges, "me"), asyncio.timeout(20):
        names = nudge(nudges)
        await nudges.quiet()
    assert (handling.most, sorted(handling.done)) == (DELIVERY_WORKERS, sorted(names))


async def test_an_arrival_that_fails_is_over_too(handling: Handling) -> None:
    nudges = Nudges()
    with pytest.raises(ZeroDivisionError), nudges.arrival():
        raise ZeroDivisionError
    async with running_worker(NOBODY, nudges, "me"), asyncio.timeout(20):
        nudge(nudges)
        await nudges.quiet()
    assert handling.most > 1


async def test_a_stop_waits_for_what_was_recorded(handling: Handling) -> None:
    nudges: Any = Nudges()
    with nudges.arrival():
        async with running_worker(NOBODY, nudges, "me"):
            names = nudge(nudges)
    assert handling.done == names
