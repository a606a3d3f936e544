"""What a thousand open streams cost everybody else. `pytest -m long -s` prints it."""

import asyncio
import contextlib
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from service.commands.local import free_port
from service.settings import Needs, read_settings
from service.wiring import open_store
from tests.processes.running import ROOT, Web, sandbox_process, web_environment, web_process
from tests.world import png, token

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

MIB: Final = 1024 * 1024
OWNERS: Final = 50
JOBS: Final = 4  # of each owner
STREAMS: Final = 5  # on each job: 1,000 in all
READS: Final = 400
PAIRS: Final = 5
ORDER: Final = (
    '{"templateSlug": "night-life-roller", "variables": {"BRAND": "#sandbox:delay=3600 A"}}'
)


def resident_bytes(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    assert found
    return int(found[1]) * 1024


async def ordered(web: Web, email: str) -> str:
    answer = await web.client.post(
        "/api/templates/video",
        data={"data": ORDER},
        files={"startImage": ("start.png", png(), "image/png")},
        headers={"Authorization": f"Bearer {token(email)}"},
    )
    answer.raise_for_status()
    job_id: str = answer.json()["jobId"]
    return job_id


@contextlib.asynccontextmanager
async def held(web: Web, pairs: list[tuple[str, str]]) -> AsyncIterator[None]:
    holder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.long.streams",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdin
    assert holder.stdout
    lines = [str(web.client.base_url), str(len(pairs)), *(" ".join(each) for each in pairs)]
    holder.stdin.write("".join(f"{line}\n" for line in lines).encode())
    await holder.stdin.drain()
    assert await holder.stdout.readline() == b"open\n"
    try:
        yield
    finally:
        holder.stdin.close()
        assert await holder.wait() == 0


async def reads(web: Web, email: str, job_id: str) -> tuple[float, float]:
    """Median and 99th percentile of reading a status, in seconds."""
    headers = {"Authorization": f"Bearer {token(email)}"}
    took = []
    for _ in range(READS):
        before = time.perf_counter()
        answer = await web.client.get(
            "/api/templates/video/status", params={"jobId": job_id}, headers=headers
        )
        took.append(time.perf_counter() - before)
        assert answer.status_code == 200
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


async def test_a_thousand_streams_do_not_slow_status_reads(tmp_path: Path) -> None:
    """Nobody polls, and those who wait do not stand in the way of those who ask."""
    emails = [f"owner{at}@long.example" for at in range(OWNERS)]
    database = {"SURREALDB_URL": f"surrealkv://{tmp_path / 'data'}"}
    async with sandbox_process(tmp_path, "--slots", "1000") as stand:
        environment = web_environment(stand, free_port(), **database)
        async with open_store(read_settings(environment, Needs.WORK)) as store:
            for email in emails:
                await store.grant(email, 1000, f"long-{email}")
        async with web_process(stand, tmp_path) as web:
            jobs = [(email, await ordered(web, email)) for email in emails for _ in range(JOBS)]
            pairs = [(token(email), job_id) for email, job_id in jobs for _ in range(STREAMS)]
            await reads(web, *jobs[0])  # warm
            without, with_them, grown = [], [], []
            for _ in range(PAIRS):
                before = resident_bytes(web.process.pid)
                without.append(await reads(web, *jobs[0]))
                async with held(web, pairs):
                    with_them.append(await reads(web, *jobs[0]))
                    grown.append(resident_bytes(web.process.pid) - before)
    medians = [
        [statistics.median(each[at] for each in found) * 1000 for at in (0, 1)]
        for found in (without, with_them)
    ]
    print(  # noqa: T201 - the figures are the point
        f"\n{len(pairs)} streams on {len(jobs)} jobs: status read p50"
        f" {medians[0][0]:.2f} -> {medians[1][0]:.2f} ms, p99"
        f" {medians[0][1]:.2f} -> {medians[1][1]:.2f} ms (medians of {PAIRS} rounds);"
        f" resident +{grown[0] / MIB:.1f} MiB at first, then"
        f" {', '.join(f'{each / MIB:+.1f}' for each in grown[1:])}"
    )
    assert medians[1][0] < 2 * medians[0][0]
    assert medians[1][1] < 3 * medians[0][1]
