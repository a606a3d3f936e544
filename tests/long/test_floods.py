"""What a flood of garbage deliveries costs everybody else. `pytest -m long -s` prints it."""

import statistics
import time
from pathlib import Path
from typing import Final

import pytest

from tests.hostile.floods import flood, reads
from tests.hostile.site import running_site
from tests.web.deliveries import SILENT

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

MIB: Final = 1024 * 1024
ROUNDS: Final = 5
READS: Final = 200
FLOOD_S: Final = 4.0  # longer than the reads take
SETTINGS: Final = {"MAX_SUBMISSIONS_PER_MINUTE": "1000", "MAX_IN_FLIGHT": "1000"}


async def test_status_reads_stay_within_twice_their_time_under_a_flood(tmp_path: Path) -> None:
    """F32: idle and flooded in turn; medians of the rounds' percentiles."""
    async with running_site(tmp_path, SETTINGS) as site:
        job_id = await site.submit(SILENT)
        await site.until(job_id, "processing")
        await reads(site, job_id, 50)
        idle, flooded, rates = [], [], []
        memory, fetched = site.resident_bytes(), (await site.counts())["jwks"]
        lines, began = site.log.read_text("utf-8").count("\n"), time.monotonic()
        for _ in range(ROUNDS):
            idle.append(await reads(site, job_id, READS))
            async with flood(site, job_id, FLOOD_S) as flooding:
                flooded.append(await reads(site, job_id, READS))
            rates.append(flooding.answered / FLOOD_S)
        fetches, took_s = (await site.counts())["jwks"] - fetched, time.monotonic() - began
        grown = site.resident_bytes() - memory
        logged = site.log.read_text("utf-8").count("\n") - lines
    medians = [
        [statistics.median(each[at] for each in found) * 1000 for at in (0, 1)]
        for found in (idle, flooded)
    ]
    print(  # noqa: T201 - the figures are the point
        f"\n{statistics.median(rates):.0f} garbage deliveries a second: status read p50"
        f" {medians[0][0]:.2f} -> {medians[1][0]:.2f} ms, p99"
        f" {medians[0][1]:.2f} -> {medians[1][1]:.2f} ms (medians of {ROUNDS} rounds);"
        f" {fetches} key sets fetched, resident {grown / MIB:+.1f} MiB, {logged} log lines"
    )
    assert fetches <= 2 + took_s / 60, "one that was cold, and one a minute"
    assert grown < 128 * MIB
    assert medians[1][1] < 2 * medians[0][1]
