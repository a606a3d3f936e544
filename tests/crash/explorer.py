"""Runs lives, and chooses which: every point with every kind of fault, in every kind of company."""

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.crash.life import Life, Run
from tests.crash.oracle import Complaints, problems
from tests.crash.plan import Fault, Kind, Point, Race
from tests.crash.points import STOPPED
from tests.crash.rig import Rig
from tests.crash.scenarios import SCENARIOS, Scenario

RACES: Final = tuple(Race)
OTHERWISE_EVERY: Final = 3  # points are struck in yet another way; the full product has all


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: `problems` empty if it went well."""

    run: Run
    life: Life
    problems: list[str]

    @property
    def missed(self) -> list[Fault]:
        """Faults whose points were not reached: another fault led the job elsewhere."""
        return [fault for fault in self.run.faults if fault not in self.life.plan.fired]


@dataclass(slots=True)
class Map:
    """The points each scenario passes when nothing goes wrong."""

    points: dict[str, dict[str, Point]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def first_seen(self) -> Iterator[tuple[Scenario, Point]]:
        """Every point once, in the first scenario that passes it."""
        seen: set[str] = set()
        for scenario in SCENARIOS:
            struck = {fault.point for fault in scenario.before}
            for name, point in self.points[scenario.name].items():
                if name not in seen and name not in struck:
                    seen.add(name)
                    yield scenario, point


async def survey(rig: Rig) -> Map:
    """Live every scenario once, with nothing but its own faults."""
    found = Map()
    for scenario in SCENARIOS:
        outcome = await explore(rig, Run(scenario))
        assert not outcome.problems, f"{scenario.name}: {outcome.problems}"
        plan = outcome.life.plan
        assert {each.point for each in scenario.before} == {each.point for each in plan.fired}
        found.points[scenario.name] = plan.points
        for name, count in plan.reached.items():
            found.counts[name] = found.counts.get(name, 0) + count
    return found


async def explore(rig: Rig, run: Run) -> Outcome:
    """One run and its judgement. Never raises for what the service did."""
    await rig.clear()
    complaints, log = Complaints(), logging.getLogger("service")
    log.addHandler(complaints)
    life = Life(rig, run, run.plan())
    try:
        await life.live()
        found = await problems(life)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this run's
        found = [f"{type(error).__name__}: {error}"]
    finally:
        log.removeHandler(complaints)
    return Outcome(run, life, found + complaints.of(life))


def singles(found: Map, day: int) -> list[Run]:
    """Every point killed, and failed or stalled by turns of the day; races rotate.

    Some are struck in another way too, and what the catalogue names for a stop is always stopped.
    """
    chosen = []
    for number, (scenario, point) in enumerate(found.first_seen):
        # What has ended cannot be given up any more.
        races = [each for each in RACES if each is not Race.CANCEL or not scenario.deletes]
        for turn, kind in enumerate(_everyday_kinds(point, number, day)):
            race = races[(number + turn) % len(races)]
            chosen.append(Run(scenario, (Fault(point.name, kind, race),)))
    return chosen


def _everyday_kinds(point: Point, number: int, day: int) -> list[Kind]:
    failing = Kind.FAIL if Kind.FAIL in point.kinds else Kind.BUG
    alternating = [kind for kind in (failing, Kind.STALL) if kind in point.kinds]
    others = [kind for kind in point.kinds if kind not in (Kind.KILL, *alternating)]
    turn = (number + day) % 2
    first = [Kind.KILL, *(alternating[turn : turn + 1] or alternating[:1])]
    if point.name in STOPPED.values():
        return [*first, Kind.STOP]
    if not others or number % OTHERWISE_EVERY:
        return first
    return [*first, others[number // OTHERWISE_EVERY % len(others)]]


def product(found: Map) -> list[Run]:
    """Every point with every kind in every company."""
    return [
        Run(scenario, (Fault(point.name, kind, race),))
        for scenario, point in found.first_seen
        for kind in point.kinds
        for race in RACES
    ]


def packed(runs: Sequence[Run], size: int) -> list[Run]:
    """The same faults in fewer lives: faults of one scenario, far from each other, share one.

    A cancel comes last in a life: it leads past most points that would follow.
    """
    chosen: list[Run] = []
    few = size
    for scenario in SCENARIOS:
        size = max(few, scenario.together)
        faults = [fault for run in runs if run.scenario is scenario for fault in run.faults]
        order = {fault: number for number, fault in enumerate(faults)}
        last = [fault for fault in faults if fault.race is Race.CANCEL]
        others = [fault for fault in faults if fault.race is not Race.CANCEL]
        lives = _strided(others, size - 1)
        for fault in last:
            room = (each for each in lives if order[each[-1]] < order[fault])
            life = next((each for each in room if _has_room(each, fault, size)), None)
            if life is None:
                lives.append(life := [])
            life.append(fault)
        chosen += [Run(scenario, tuple(each)) for each in lives]
    return chosen


def _strided(faults: Sequence[Fault], size: int) -> list[list[Fault]]:
    """Groups whose members are as far from each other as they can be, in their order."""
    stride = max(-(-len(faults) // size), 1)
    lives: list[list[Fault]] = []
    for first in range(stride):
        life: list[Fault] = []
        for fault in faults[first::stride]:
            if life and not _has_room(life, fault, size):
                lives.append(life)
                life = []
            life.append(fault)
        lives += [life] if life else []
    return lives


def _has_room(life: Sequence[Fault], fault: Fault, size: int) -> bool:
    return (
        len(life) < size
        and life[-1].race is not Race.CANCEL
        and all(fault.point != other.point for other in life)
    )


def pairs(found: Map, dice: random.Random, count: int) -> Iterator[Run]:
    """Any two points that one scenario passes, with any fitting kinds and races."""
    for _ in range(count):
        scenario = dice.choice(SCENARIOS)
        struck = {fault.point for fault in scenario.before}
        points = [each for name, each in found.points[scenario.name].items() if name not in struck]
        faults = (
            Fault(point.name, dice.choice(point.kinds), dice.choice(RACES))
            for point in dice.sample(points, 2)
        )
        yield Run(scenario, tuple(faults))


def parsed(text: str) -> Run:
    """The run that a failure names."""
    name, _, rest = text.partition("/")
    scenario = next(each for each in SCENARIOS if each.name == name)
    return Run(scenario, tuple(_fault(each) for each in rest.split("+") if each))


def _fault(text: str) -> Fault:
    point, _, rest = text.partition("=")
    kind, _, race = rest.partition("~")
    return Fault(point, Kind(kind), Race(race or "none"))


def report(outcomes: Iterable[Outcome]) -> str:
    """The failed runs, each with what is wrong and how to try it again."""
    failed = [each for each in outcomes if each.problems]
    lines = [f"{each.run}\n    " + "\n    ".join(each.problems) for each in failed]
    return f"{len(failed)} runs failed (CRASH_RUN=… repeats one):\n" + "\n".join(lines)
