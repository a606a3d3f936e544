"""A flood from another process, and what a bystander sees of it."""

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from tests.hostile.site import Site
from tests.processes.running import ROOT
from tests.web.deliveries import webhook_token


@dataclass(slots=True)
class Flood:
    told: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        return self.told.total()


@contextlib.asynccontextmanager
async def flood(site: Site, job_id: str, seconds: float, lines: int = 8) -> AsyncIterator[Flood]:
    """Run the body under a flood; leave once that has ended by itself. One line, one connection."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hostile.flood"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdin
    assert program.stdout
    plan = {"url": site.url, "token": webhook_token(job_id), "seconds": seconds, "lines": lines}
    program.stdin.write(json.dumps(plan).encode())
    program.stdin.close()
    assert await program.stdout.readline() == b"flooding\n"
    flooding = Flood()
    yield flooding
    told: Mapping[str, int] = json.loads(await program.stdout.read())
    flooding.told.update(told)
    assert await program.wait() == 0


async def reads(site: Site, job_id: str, times: int) -> tuple[float, float]:
    """Median and 99th percentile of reading a status, in seconds."""
    took = []
    for _ in range(times):
        before = time.perf_counter()
        answer = await site.http.get(
            "/api/templates/video/status", params={"jobId": job_id}, headers=site.headers()
        )
        took.append(time.perf_counter() - before)
        assert answer.status_code == 200
    return statistics.median(took), statistics.quantiles(took, n=100)[98]
