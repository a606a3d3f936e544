"""B5: from the moment fal has the video to the moment a browser has its address in our bucket."""

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from tests.bench.effort import Effort
from tests.bench.old_design import MODEL
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, ratio_of
from tests.bench.sides import Sides, new_brand, running_sides
from tests.processes.running import BRAND

BENCH: Final = "B5"
JOBS: Final = 20  # in a round: one of them is the slowest twentieth
LEAST_JOBS: Final = 2
APART_S: Final = 0.5  # between two orders, or one video's copy would wait for another's
RENDER_S: Final = 1.0
POLL_S: Final = 3.0
LEAST_SCALE: Final = 0.3  # of the pause between polls, where only the bench itself is tried
VIDEO_BYTES: Final = 5_000_000
LISTED_MOST: Final = 100  # in one page of fal's listing

OURS: Final = "ours, pushed"
OLD: Final = "old design, polled every 3 s"


async def measure(effort: Effort) -> list[Result]:
    jobs = effort.sized(JOBS, least=LEAST_JOBS)
    assert jobs <= LISTED_MOST
    pause_s = POLL_S * min(1.0, max(effort.scale, LEAST_SCALE))
    rounds: dict[str, list[list[float]]] = {OURS: [], OLD: []}

    async def one(sides: Sides, name: str) -> float:
        delays = await _round(sides, name, jobs, pause_s)
        rounds[name].append(delays)
        return percentile(delays, 0.5)

    async with running_sides(effort.folder, render_s=RENDER_S) as sides:
        await in_turns({name: partial(one, sides, name) for name in rounds}, pairs=effort.pairs)
    measured = {name: found[1:] for name, found in rounds.items()}  # the first is to warm up
    notes = f"{VIDEO_BYTES / 1e6:g} MB, {jobs} videos a round"
    if pause_s < POLL_S:
        notes += f"; polled every {pause_s:g} s instead"
    found = [_result(measured, "p50", 0.5, 0.1), _result(measured, "p95", 0.95, 0.2)]
    return [replace(each, notes=notes, details={"seconds": measured}) for each in found]


async def _round(sides: Sides, name: str, jobs: int, pause_s: float) -> list[float]:
    """The delay of each of so many videos, ordered one after another, each watched by one tab."""
    brands = [new_brand() for _ in range(jobs)]
    async with asyncio.TaskGroup() as group:
        tabs = []
        for brand in brands:
            tabs.append(group.create_task(_seen(sides, name, brand, pause_s)))
            await asyncio.sleep(APART_S)
    ended = await _ended(sides)
    return [tab.result() - ended[brand] for brand, tab in zip(brands, tabs, strict=True)]


async def _seen(sides: Sides, name: str, brand: str, pause_s: float) -> float:
    faults = f"bytes={VIDEO_BYTES}"
    if name == OURS:
        return await sides.browser.sees("watch", **await sides.order(brand, faults))
    job = await sides.order_old(brand, faults)
    return await sides.browser.sees("poll", **job, pauseMs=pause_s * 1000)


async def _ended(sides: Sides) -> dict[str, float]:
    """When fal completed each of the newest requests, by their brands."""
    answer = await sides.http.get(
        f"{sides.stand.fal_url}/v1/models/requests/by-endpoint",
        params={"endpoint_id": MODEL, "limit": LISTED_MOST, "expand": "payloads"},
        headers={"Authorization": f"Key {sides.web.environment['FAL_KEY']}"},
    )
    rows: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return {
        _brand(each["json_input"]["prompt"]): datetime.fromisoformat(each["ended_at"]).timestamp()
        for each in rows
    }


def _brand(prompt: str) -> str:
    named = re.search(BRAND, prompt)
    assert named, prompt
    return named[1]


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that so large a share does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _result(rounds: dict[str, list[list[float]]], what: str, share: float, target: float) -> Result:
    found = {name: [percentile(each, share) for each in its] for name, its in rounds.items()}
    return ratio_of(
        BENCH,
        f"completion to visible, {what}",
        paired(found, OURS, OLD),
        names=(OURS, OLD),
        unit="s",
        want="<=",
        target=target,
    )
