"""What goes wrong in a run: faults, and the points of the code at which they strike.

A point is the instant before (`·b`) or after (`·a`) an effect on the world, and is named
`path:door·b`: the flow that is under way, and the call at a port (or one layer below it).
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol


class Killed(BaseException):
    """The process is dead: nothing that it still tries has any effect."""


class Kind(StrEnum):
    KILL = "kill"  # as SIGKILL: nothing more happens in this process
    FAIL = "fail"  # the call fails as its port says that it may; after: its effect took place
    BUG = "bug"  # the same with an error nobody expects
    STALL = "stall"  # the call takes so long that leases end and everybody else goes on
    STOP = "stop"  # as SIGTERM: the process drains
    OUTAGE = "outage"  # from here on everything behind this door fails, for a while
    DENY = "deny"  # our key is refused


class Race(StrEnum):
    """What else happens, in another process, at the very instant a fault strikes."""

    NONE = "none"
    DUPLICATE = "duplicate"  # the order again, every delivery again: the same and a re-signed one
    SWEEP = "sweep"
    CANCEL = "cancel"


Failure = Callable[[], Exception]
# Layers that can be away as a whole.
LAYERS: Final = frozenset({"store", "s3", "wire", "source", "verifier"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Ways:
    """How a call can go wrong by its contract."""

    waits: bool = True  # it can hang, and be told to stop meanwhile
    fails: Failure | None = None
    denies: Failure | None = None
    breaks: bool = True


@dataclass(frozen=True, slots=True)
class Point:
    name: str
    ways: Ways

    @property
    def layer(self) -> str:
        return self.name.partition(":")[2].partition(".")[0]

    @property
    def before(self) -> bool:
        return self.name.endswith("·b")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The faults that can strike here."""
        ways = self.ways
        possible = {
            Kind.KILL: True,
            Kind.FAIL: ways.fails is not None,
            Kind.BUG: ways.breaks,
            Kind.STALL: ways.waits,
            Kind.STOP: ways.waits,
            Kind.OUTAGE: ways.fails is not None and self.before and self.layer in LAYERS,
            Kind.DENY: ways.denies is not None and self.before,
        }
        return tuple(kind for kind, holds in possible.items() if holds)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens the first time that a point is reached."""

    point: str
    kind: Kind
    race: Race = Race.NONE

    def __str__(self) -> str:
        return f"{self.point}={self.kind}~{self.race}"


class Process(Protocol):
    """Whom a fault strikes."""

    @property
    def dead(self) -> bool: ...
    def die(self) -> None: ...
    def stop(self) -> None: ...
    async def hang(self) -> None: ...


Racing = Callable[[Race], Coroutine[Any, Any, None]]


class Plan:
    """The faults of one run, and every point that was reached in it."""

    def __init__(self, *faults: Fault) -> None:
        self._armed = {fault.point: fault for fault in faults}
        self.fired: list[Fault] = []
        self.reached: Counter[str] = Counter()
        self.points: dict[str, Point] = {}
        self.away: str | None = None  # the layer that is away
        self.racing: Racing | None = None
        self.races: list[Race] = []  # those still to be run: nothing was awaited at their point

    async def reach(self, process: Process, point: Point) -> None:
        """Announce an awaited call. Raises what the plan has for it."""
        fault = self._strikes(process, point)
        if fault is None:
            return
        if fault.race is not Race.NONE:
            assert self.racing is not None, "whoever arms a race says how to run it"
            await self.racing(fault.race)
            _check(process)
        if fault.kind is Kind.STALL:
            await process.hang()
            _check(process)
        else:
            self._strike(process, fault, point)

    def reach_at_once(self, process: Process, point: Point) -> None:
        """Announce a call that is not awaited; what races with it does so right afterwards."""
        fault = self._strikes(process, point)
        if fault is None:
            return
        if fault.race is not Race.NONE:
            self.races.append(fault.race)
        self._strike(process, fault, point)

    def _strikes(self, process: Process, point: Point) -> Fault | None:
        _check(process)
        self.reached[point.name] += 1
        self.points.setdefault(point.name, point)
        fault = self._armed.pop(point.name, None)
        if fault is not None:
            self.fired.append(fault)
        elif self.away == point.layer and point.before and point.ways.fails is not None:
            raise point.ways.fails()
        return fault

    def _strike(self, process: Process, fault: Fault, point: Point) -> None:
        match fault.kind:
            case Kind.KILL:
                process.die()
                raise Killed
            case Kind.STOP:
                process.stop()
            case Kind.FAIL | Kind.OUTAGE if point.ways.fails is not None:
                self.away = point.layer if fault.kind is Kind.OUTAGE else self.away
                raise point.ways.fails()
            case Kind.DENY if point.ways.denies is not None:
                raise point.ways.denies()
            case Kind.BUG:
                raise RuntimeError(f"injected at {fault.point}")
            case _:
                raise AssertionError(f"{fault} cannot happen there")


def _check(process: Process) -> None:
    if process.dead:
        raise Killed
