"""One job's whole life, struck at every point: it ends properly, is paid for once, and is whole."""

import os
import random
import time
from collections.abc import Iterable, Sequence

import pytest

from tests.crash.explorer import (
    Map,
    Outcome,
    explore,
    packed,
    pairs,
    parsed,
    product,
    report,
    singles,
)
from tests.crash.life import Run
from tests.crash.rig import Rig
from tests.parts import thorough

DAYS = 8  # in which every life is lived; each time with THOROUGH=1, as in CI
SHARDS = 8 if thorough() else 2  # some ten seconds each on an idle machine
LONG_SHARDS = 30
TOGETHER = 3  # faults in a life; one alone where that leads past another's point
PAIRS = 16 if thorough() else 8
LONG_PAIRS = 600


def of_today(runs: Sequence[Run]) -> Sequence[Run]:
    """A share of the lives, another one tomorrow; all of them where there is time for it."""
    return runs if thorough() else runs[seed() % DAYS :: DAYS]


def seed() -> int:
    """Another walk every day; CRASH_SEED repeats one."""
    return int(os.environ.get("CRASH_SEED") or time.time() // 86_400)


async def outcomes(rig: Rig, runs: Iterable[Run], *, all_must_strike: bool) -> list[Outcome]:
    """Each run's outcome; faults that another one kept from striking get a life of their own."""
    done = []
    for run in runs:
        outcome = await explore(rig, run)
        done.append(outcome)
        if all_must_strike:
            alone = [await explore(rig, Run(run.scenario, (each,))) for each in outcome.missed]
            done += alone
            for each in alone:
                each.problems.extend("the point was not reached" for _ in each.missed)
    return done


@pytest.mark.timeout(300)
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_a_job_survives_every_fault_at_every_point(
    rig: Rig, surveyed: Map, shard: int
) -> None:
    """F1, F2, F9, F37, F39, F45, F55, F56, F58, F60, F65, F67, F73: struck anywhere."""
    # The same points for some days, so that each share of them is had.
    lives = packed(singles(surveyed, seed() // DAYS), TOGETHER)
    runs = of_today(lives)[shard::SHARDS]
    failed = [each for each in await outcomes(rig, runs, all_must_strike=True) if each.problems]
    assert not failed, f"CRASH_SEED={seed()}: {report(failed)}"


@pytest.mark.parametrize("shard", range(2))
async def test_a_job_survives_any_two_faults(rig: Rig, surveyed: Map, shard: int) -> None:
    """A seeded walk over pairs of points."""
    runs = list(pairs(surveyed, random.Random(f"{seed()}/{shard}"), PAIRS // 2))
    failed = [each for each in await outcomes(rig, runs, all_must_strike=False) if each.problems]
    assert not failed, f"CRASH_SEED={seed()}: {report(failed)}"


@pytest.mark.long
@pytest.mark.parametrize("shard", range(LONG_SHARDS))
async def test_a_job_survives_every_fault_in_every_company(
    rig: Rig, surveyed: Map, shard: int
) -> None:
    """The full product of points, kinds and races, one fault to a life."""
    runs = product(surveyed)[shard::LONG_SHARDS]
    failed = [each for each in await outcomes(rig, runs, all_must_strike=True) if each.problems]
    assert not failed, report(failed)


@pytest.mark.long
@pytest.mark.parametrize("shard", range(LONG_SHARDS // 5))
async def test_a_job_survives_any_two_faults_many_times(
    rig: Rig, surveyed: Map, shard: int
) -> None:
    """The walk over pairs, much longer."""
    count = LONG_PAIRS * 5 // LONG_SHARDS
    runs = list(pairs(surveyed, random.Random(f"{seed()}/long/{shard}"), count))
    failed = [each for each in await outcomes(rig, runs, all_must_strike=False) if each.problems]
    assert not failed, f"CRASH_SEED={seed()}: {report(failed)}"


async def test_the_run_that_is_asked_for(rig: Rig, surveyed: Map) -> None:
    """CRASH_RUN repeats a run by the name that a failure gave it."""
    asked = os.environ.get("CRASH_RUN", "small/finalise:store.settle_ready·a=kill~duplicate")
    failed = [each for each in [await explore(rig, parsed(asked))] if each.problems]
    assert not failed, report(failed)
