"""B11: status reads while garbage deliveries arrive, beside status reads of an idle process."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from service.domain.job import JobState
from tests.bench.deliveries import request, write_requests
from tests.bench.effort import Effort
from tests.bench.opened import Answers, open_load
from tests.bench.pairs import in_turns
from tests.bench.results import Result, ratio_of
from tests.bench.stand import App, running_bench
from tests.hostile import flood
from tests.web.deliveries import webhook_token
from tests.world import OWNER, token

GARBAGE_PER_S: Final = 2_000
READS_PER_S: Final = 100
LEAST_READS_S: Final = 1.0  # too few of them have no 99th percentile
LINES: Final = 64  # of the flood; what finds all of them busy waits with the attacker
SLOW_LINES: Final = 8  # more of them, which never end their requests
AHEAD_S: Final = 0.5  # the flood runs before the first read, and after the last
HUGE_BYTES: Final = 300_000
HUGE_EVERY: Final = 50  # or these would be most of what arrives
TARGET: Final = 2.0
STATUS: Final = "/api/templates/video/status?jobId="
PERCENTILES: Final = (99, 50)


async def measure(effort: Effort) -> list[Result]:
    """The 99th percentile of a read, and the median, in the same rounds."""
    seconds = max(effort.seconds, LEAST_READS_S)
    told: dict[str, list[Answers]] = {"idle": [], "flooded": []}
    floods: list[Answers] = []
    async with running_bench(effort.folder) as bench:
        app = await bench.web()
        [job_id] = await bench.jobs(1, JobState.SUBMITTED)
        reads = write_requests(bench.new_file("reads"), [_read(job_id)])
        garbage = write_requests(bench.new_file("garbage"), _garbage(job_id))

        async def idle() -> float:
            told["idle"].append(await _reads(app, reads, seconds))
            return told["idle"][-1].share_s(99)

        async def flooded() -> float:
            flooding = asyncio.create_task(_flood(app, job_id, garbage, seconds))
            await asyncio.sleep(AHEAD_S)
            told["flooded"].append(await _reads(app, reads, seconds))
            floods.append(await flooding)
            await bench.at_rest(app)
            return told["flooded"][-1].share_s(99)

        await in_turns({"idle": idle, "flooded": flooded}, pairs=effort.pairs)
    return [_result(each, told, floods) for each in PERCENTILES]


def _result(percent: int, told: Mapping[str, list[Answers]], floods: list[Answers]) -> Result:
    flooded, idle = (
        [each.share_s(percent) * 1000 for each in told[name][1:]] for name in ("flooded", "idle")
    )
    per_s = statistics.median(each.per_s for each in floods[1:])
    return ratio_of(
        "B11",
        f"status read p{percent} under garbage deliveries",
        list(zip(flooded, idle, strict=True)),
        names=("flooded", "idle"),
        unit="ms",
        want="<=",
        target=TARGET,
        notes=f"{GARBAGE_PER_S} garbage deliveries a second offered on {LINES} connections, "
        f"{per_s:.0f} answered; {READS_PER_S} reads a second at fixed instants.",
    )


async def _reads(app: App, reads: Path, seconds: float) -> Answers:
    told = await open_load(app.address, reads, rate=READS_PER_S, seconds=seconds)
    assert set(told.statuses) <= {"200"}, told.statuses
    return told


async def _flood(app: App, job_id: str, garbage: Path, seconds: float) -> Answers:
    """Garbage of every kind, until some time after the reads."""
    seconds += 2 * AHEAD_S
    slow = (
        f"POST /api/fal/webhook/{webhook_token(job_id)} HTTP/1.1\r\n"
        "Host: localhost\r\nContent-Length: 900\r\n\r\n"
    )
    until, ended = time.monotonic() + seconds, Counter[str]()
    dribbling = [
        asyncio.create_task(flood.dribble(app.address, slow.encode(), until, ended))
        for _ in range(SLOW_LINES)
    ]
    told = await open_load(
        app.address, garbage, rate=GARBAGE_PER_S, seconds=seconds, lines=LINES, patience_s=0
    )
    await asyncio.gather(*dribbling)
    assert set(told.statuses) <= {"401", "closed"}, told.statuses
    return told


def _garbage(job_id: str) -> list[bytes]:
    sealed = webhook_token(job_id)
    unknown = flood.request("localhost", "v-none.1." + "A" * 43, b"{}", signed=False)
    bad = flood.request("localhost", sealed, b'{"status": "OK"}', signed=True)
    huge = flood.request("localhost", sealed + "x", b"x" * HUGE_BYTES, signed=True)
    return [*[unknown, bad] * (HUGE_EVERY // 2), huge]


def _read(job_id: str) -> bytes:
    return request("GET", STATUS + job_id, {"Authorization": f"Bearer {token(OWNER)}"})
