"""Starting the open load of open_load.py, and what it came to."""

import asyncio
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.processes.running import ROOT

PATIENCE_S: Final = 5.0  # who is not answered by then never is
LINES: Final = 512
PER_CENT: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What a load was answered. Whoever never was has waited for as long as anybody did."""

    sent: int
    statuses: Mapping[str, int]
    unanswered: int
    latencies: list[float]
    took_s: float
    longest_s: float

    @property
    def per_s(self) -> float:
        return len(self.latencies) / self.took_s

    def share_s(self, percent: int) -> float:
        """The latency that so many per cent stay within, in seconds."""
        all_of_them = [*self.latencies, *[self.longest_s] * self.unanswered]
        return statistics.quantiles(all_of_them, n=PER_CENT, method="inclusive")[percent - 1]


async def open_load(
    address: tuple[str, int],
    requests: Path,
    *,
    rate: float,
    seconds: float,
    lines: int = LINES,
    patience_s: float = PATIENCE_S,
) -> Answers:
    """Send the file's requests, again and again from its start, from a process of its own.

    After the last of them answers are waited for so long.
    """
    plan: dict[str, Any] = {"address": address, "requests": str(requests)}
    plan |= {"rate": rate, "seconds": seconds, "lines": lines, "patience_s": patience_s}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.open_load"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(json.dumps(plan).encode())
    if process.returncode:
        raise RuntimeError("the load generator failed")
    told = json.loads(out)
    return Answers(longest_s=seconds + patience_s, **told)
