"""B10: what deliveries that come ten times cost the database, beside such as come once."""

import json
import re
from dataclasses import dataclass
from typing import Final

from tests.bench.effort import Effort
from tests.bench.results import Result, count_of
from tests.bench.stand import App, Bench, running_bench
from tests.store.bench import TABLES
from tests.world import OWNER, eventually, png, token

EVENTS: Final = 40
TIMES: Final = 10
TARGET: Final = 1.1
WITHIN_S: Final = 120.0
KEPT: Final = "1h"  # longer than this takes
HEADERS: Final = {"Authorization": f"Bearer {token(OWNER)}"}

_CALLS: Final = re.compile(r'^fal_video_db_seconds_count\{kind="write"\} ([\d.e+]+)', re.MULTILINE)
_DELIVERIES: Final = re.compile(
    r'^fal_video_deliveries_total\{outcome="(recorded|repeated)"\} ([\d.e+]+)', re.MULTILINE
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Of some jobs, from order to video. `writes` are the transactions that changed something."""

    writes: float
    calls: float
    deliveries: float
    repeated: float


async def measure(effort: Effort) -> list[Result]:
    """Whole jobs, with the sandbox sending each webhook once, and ten times at once."""
    events = effort.sized(EVENTS, least=3)
    async with running_bench(effort.folder, synced=False) as bench:
        await _keep_changes(bench)
        app = await bench.web()
        await bench.store.grant(OWNER, 1_000_000, "bench")
        await _cost(bench, app, 1, "")  # what is read or fetched once in a process's life
        once = await _cost(bench, app, events, "")
        often = await _cost(bench, app, events, f" #sandbox:duplicate={TIMES}")
    assert (once.deliveries, often.deliveries) == (events, events * TIMES)
    return [
        count_of(
            "B10",
            f"database writes, {TIMES} deliveries per event against 1",
            often.writes / once.writes,
            unit="times",
            want="<=",
            target=TARGET,
            notes=f"Transactions that changed something, per job from order to video: "
            f"{once.writes / events:.4g} with each webhook sent once, {often.writes / events:.4g} "
            f"with each sent {TIMES} times at once. {events} jobs each, counted by the engine. "
            f"Calls that may write: {once.calls / events:.4g} and {often.calls / events:.4g}: of "
            f"{often.repeated:g} repeats, those that come together share one.",
        ),
    ]


async def _cost(bench: Bench, app: App, events: int, said: str) -> Cost:
    before = await _so_far(bench, app)
    jobs = [await _order(bench, app, f"A{said}") for _ in range(events)]
    for job_id in jobs:
        await _completed(bench, app, job_id)
    await bench.at_rest(app)
    after = await _so_far(bench, app)
    return Cost(
        writes=after.writes - before.writes,
        calls=after.calls - before.calls,
        deliveries=after.deliveries - before.deliveries,
        repeated=after.repeated - before.repeated,
    )


async def _so_far(bench: Bench, app: App) -> Cost:
    said = (await bench.http.get(f"{app.url}/metrics")).raise_for_status().text
    deliveries = {outcome: float(count) for outcome, count in _DELIVERIES.findall(said)}
    calls = _CALLS.search(said)
    return Cost(
        writes=await _writes(bench),
        calls=float(calls[1]) if calls else 0,  # there is no series before the first
        deliveries=sum(deliveries.values()),
        repeated=deliveries["repeated"],
    )


async def _keep_changes(bench: Bench) -> None:
    """Let the engine keep what is changed. What changes nothing leaves nothing there."""
    await bench.store.database.script(
        "; ".join(f"ALTER TABLE {each} CHANGEFEED {KEPT}" for each in TABLES)
    )


async def _writes(bench: Bench) -> int:
    """How many transactions have changed something: each has one stamp, in all of its tables."""
    stamps: set[int] = set()
    for table in TABLES:
        changes = await bench.store.database.read(
            f"SHOW CHANGES FOR TABLE {table} SINCE 0 LIMIT 1000000"
        )
        stamps |= {each["versionstamp"] for each in changes}
    return len(stamps)


async def _order(bench: Bench, app: App, brand: str) -> str:
    order = {"templateSlug": "night-life-roller", "variables": {"BRAND": brand}}
    answer = await bench.http.post(
        f"{app.url}/api/templates/video",
        data={"data": json.dumps(order)},
        files={"startImage": ("start.png", png(), "image/png")},
        headers=HEADERS,
    )
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["jobId"]
    return job_id


async def _completed(bench: Bench, app: App, job_id: str) -> None:
    url, params = f"{app.url}/api/templates/video/status", {"jobId": job_id}

    async def look() -> bool | None:
        answer = await bench.http.get(url, params=params, headers=HEADERS)
        return answer.raise_for_status().json()["status"] == "completed" or None

    await eventually(look, WITHIN_S)
