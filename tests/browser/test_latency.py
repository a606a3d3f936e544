"""How soon after its settlement a page shows a video: by push, and by reads every 3 s."""

import statistics
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import pytest

from tests.browser.site import Site
from tests.browser.tab import Visitor

PAIRS: Final = 11  # and a first one, for all of which one user has the credits
# Renders of different lengths, so that the ends fall anywhere between two reads.
SHORTEST_S: Final = 0.6
STEP_S: Final = 0.27

# Notes when the page's console says that a video is complete, by the clock of this machine.
_STAMPS: Final = """
window.completions = [];
for (const level of ["log", "info", "debug"]) {
  const say = console[level];
  console[level] = (...words) => {
    if (String(words[0]).includes("Generation complete")) window.completions.push(Date.now());
    say.apply(console, words);
  };
}
"""
# What a page without push does: a read, and the next one three seconds later.
_READS: Final = """async (jobId) => {
  for (;;) {
    const answer = await fetch(`/api/templates/video/status?jobId=${jobId}`);
    if ((await answer.json()).status === "completed") return Date.now();
    await new Promise((resolve) => setTimeout(resolve, 3000));
  }
}"""


async def settled_ms(service: Site, email: str, job_id: str) -> float:
    """When the job was settled, by the database's clock, which is this machine's."""
    async with service.client(email) as client:
        entries = (await client.get("/api/credits")).raise_for_status().json()["entries"]
    (at,) = [each["at"] for each in entries if (each["jobId"], each["kind"]) == (job_id, "capture")]
    return datetime.fromisoformat(at).timestamp() * 1000


async def by_push(service: Site, visitor: Visitor, brand: str, render_s: float) -> float:
    """Milliseconds from the settlement to the console line of the designer."""
    tab = await visitor.tab(None)
    await tab.page.add_init_script(_STAMPS)
    await tab.open()
    job_id = await tab.animate(brand, f"delay={render_s:.2f}")
    await tab.completes(job_id)
    (shown,) = await tab.page.evaluate("window.completions")
    await tab.page.close()
    return float(shown - await settled_ms(service, visitor.email, job_id))


async def by_reads(service: Site, visitor: Visitor, brand: str, render_s: float) -> float:
    """Milliseconds from the settlement to the read that shows it."""
    tab = await visitor.tab(None)
    tab.may_answer(404)  # the icon, which only a page of HTML names
    await tab.page.goto(f"{service.url}/health/live")
    job_id = await service.order(visitor.email, brand, f"delay={render_s:.2f}")
    shown = await tab.page.evaluate(_READS, job_id)
    await tab.page.close()
    return float(shown - await settled_ms(service, visitor.email, job_id))


def report(name: str, values: Sequence[float]) -> None:
    low, middle, high = min(values), statistics.median(values), max(values)
    sys.stdout.write(f"\n{name}: median {middle:.1f} (from {low:.1f} to {high:.1f})")


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_push_shows_the_end_many_times_sooner_than_reads_do(
    service: Site, visitor: Visitor
) -> None:
    """In turns, in one run. The first of each is not counted: everything is cold then."""
    push: list[float] = []
    reads: list[float] = []
    for turn in range(PAIRS + 1):
        render_s = SHORTEST_S + turn * STEP_S
        push.append(await by_push(service, visitor, f"by-push-{turn}", render_s))
        reads.append(await by_reads(service, visitor, f"by-reads-{turn}", render_s))
    ratios = [slow / max(quick, 1) for quick, slow in zip(push[1:], reads[1:], strict=True)]
    report("push, ms", push[1:])
    report("a read every 3 s, ms", reads[1:])
    report("reads / push, by pairs", ratios)
    sys.stdout.write("\n")
    assert statistics.median(ratios) > 1
