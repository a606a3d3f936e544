"""No effect of a flow is without a name, and every name is an effect that was really reached."""

import ast
from collections.abc import Iterator
from pathlib import Path

import service.flows
from tests.crash.explorer import Map, singles
from tests.crash.plan import Kind, Race
from tests.crash.points import ABSENT, MIGRATING, NAMED, STOPPED, UNEXPLORED

PORTS = {"store", "fal", "bucket", "source", "verifier", "nudge"}


async def test_every_named_crash_point_is_passed_by_some_life(surveyed: Map) -> None:
    """By count, and with nothing injected but what the life itself is about."""
    missing = {
        name: [door for door in doors if not surveyed.counts.get(door)]
        for name, doors in NAMED.items()
    }
    assert not {name: doors for name, doors in missing.items() if doors}
    assert all(surveyed.counts.get(door) for door in STOPPED.values())
    assert not NAMED.keys() & (ABSENT.keys() | STOPPED.keys() | {MIGRATING})


async def test_every_call_that_a_flow_makes_at_a_port_is_a_point(surveyed: Map) -> None:
    """A new method that no life passes is noticed here."""
    passed = {name.partition(":")[2].partition("·")[0] for name in surveyed.counts}
    called = set(_port_calls())
    assert len(called) > 30, "the calls are not recognised any more"
    assert called - passed == UNEXPLORED.keys()


async def test_every_point_is_struck_in_every_fitting_way_and_company(surveyed: Map) -> None:
    """Two days' selections leave out no point, no kind, and no company of either."""
    days = [singles(surveyed, day) for day in (1, 2)]
    faults = [fault for runs in days for run in runs for fault in run.faults]
    points = {point.name: point for _, point in surveyed.first_seen}
    struck = {name: {each.kind for each in faults if each.point == name} for name in points}
    for name, point in points.items():
        assert Kind.KILL in struck[name]
        assert struck[name] & {Kind.FAIL, Kind.BUG} or not point.ways.breaks
        assert Kind.STALL in struck[name] or not point.ways.waits
    assert set(STOPPED.values()) <= {each.point for each in faults if each.kind is Kind.STOP}
    for kind in (Kind.KILL, Kind.FAIL, Kind.STALL):
        assert {each.race for each in faults if each.kind is kind} == set(Race)


def _port_calls() -> Iterator[str]:
    """`port.method` for each call in the flows; the audit only reads, and is not among them."""
    for path in Path(service.flows.__file__).parent.glob("*.py"):
        if path.name == "audit.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Attribute(attr=port) | ast.Name(id=port), attr=method
                    )
                ) if port in PORTS:
                    yield f"{port}.{method}"
                case _:
                    pass
