"""B4: how often fal is called for one finished video, while so many tabs watch it.

Counted by the stand-in for fal, request by request, so that all ways run at the same time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import fal_client

from tests.bench.effort import Effort
from tests.bench.old_design import MODEL, aim_at
from tests.bench.results import Result, Series, count_of
from tests.bench.sides import Sides, image_url, new_brand, prompt, running_sides

BENCH: Final = "B4"
JOBS: Final = 3
CROWD: Final = 10
RENDER_S: Final = 120.0
POLL_S: Final = 3.0
SUBSCRIBE_S: Final = 0.1  # fal-client's own pause between two looks
OVERDUE_S: Final = 135.0  # what the service grants this model before it asks fal itself
SWEEP_S: Final = 15.0
LEAST_SCALE: Final = 0.05  # below that a busy machine's own pauses are what is measured
UNIT: Final = "calls"

OLD: Final = "old design, polled every 3 s"
SUBSCRIBE: Final = "fal_client.subscribe"


@dataclass(frozen=True, slots=True)
class Way:
    """`follow` orders under a brand and watches with so many tabs until all saw the video."""

    follow: Callable[[str, int], Awaitable[None]]
    tabs: int


async def measure(effort: Effort) -> list[Result]:
    scale = min(1.0, max(effort.scale, LEAST_SCALE))
    hurried = {
        "EXPECTED_RENDER_S": str(OVERDUE_S * scale),
        "RECONCILE_INTERVAL_S": str(SWEEP_S * scale),
    }
    async with running_sides(effort.folder, render_s=RENDER_S * scale, **hurried) as sides:
        ways = _ways(sides, scale)
        brands = {name: [new_brand() for _ in range(effort.sized(JOBS))] for name in ways}
        async with asyncio.TaskGroup() as group:
            for name, way in ways.items():
                for brand in brands[name]:
                    group.create_task(_run(way, brand))
        counted = await _counted(sides, brands)
        totals = (await sides.http.get(f"{sides.stand.fal_url}/sandbox/counts")).json()
    said = "" if scale == 1 else f"all times shrunk to {scale:g} of themselves"
    return [replace(each, notes=said, details={"totals": totals}) for each in _results(counted)]


def _ways(sides: Sides, scale: float) -> dict[str, Way]:
    async def ours(brand: str, tabs: int, faults: str = "") -> None:
        job = await sides.order(brand, faults)
        await asyncio.gather(*(sides.browser.sees("watch", **job) for _ in range(tabs)))

    async def lost(brand: str, tabs: int) -> None:
        await ours(brand, tabs, "drop")

    async def old(brand: str, tabs: int) -> None:
        job = await sides.order_old(brand) | {"pauseMs": POLL_S * 1000 * scale}
        await asyncio.gather(*(sides.browser.sees("poll", **job) for _ in range(tabs)))

    async def subscribed(brand: str, tabs: int) -> None:
        arguments: dict[str, Any] = {"prompt": prompt(brand), "image_url": image_url()}
        aim_at(sides.stand.fal_url)
        fal = fal_client.AsyncClient(key=sides.web.environment["FAL_KEY"])
        await fal.subscribe(MODEL, arguments, interval=SUBSCRIBE_S * scale)

    return {
        "ours 1": Way(ours, 1),
        "ours 10": Way(ours, CROWD),
        "lost 1": Way(lost, 1),
        "lost 10": Way(lost, CROWD),
        "old 1": Way(old, 1),
        "old 10": Way(old, CROWD),
        "subscribe": Way(subscribed, 1),
    }


async def _run(way: Way, brand: str) -> None:
    await way.follow(brand, way.tabs)


async def _counted(sides: Sides, brands: dict[str, list[str]]) -> dict[str, list[float]]:
    """Submissions, status reads and result reads of each job."""
    found = await sides.stand.requests_by_brand()
    return {
        name: [
            float(sum(1 + each["statuses"] + each["results"] for each in found[brand]))
            for brand in its
        ]
        for name, its in brands.items()
    }


def _results(counted: dict[str, list[float]]) -> list[Result]:
    rows = [
        ("1 tab", "ours 1", "old 1", OLD, 1.0),
        ("10 tabs", "ours 10", "old 10", OLD, 1.0),
        ("1 tab, webhook lost", "lost 1", "subscribe", SUBSCRIBE, 3.0),
        ("10 tabs, webhook lost", "lost 10", "old 10", OLD, 3.0),
    ]
    return [
        _result(f"fal calls per finished job, {what}", counted[ours], name, counted[theirs], target)
        for what, ours, theirs, name, target in rows
    ]


def _result(
    what: str, ours: Sequence[float], name: str, theirs: Sequence[float], target: float
) -> Result:
    """Of ours, the job that took the most is what counts."""
    made = count_of(BENCH, what, max(ours), unit=UNIT, want="<=", target=target)
    return replace(
        made,
        ours=Series(name="ours", values=tuple(ours), unit=UNIT),
        beside=Series(name=name, values=tuple(theirs), unit=UNIT),
    )
