"""B2: the 99th percentile of an acknowledgement under a fixed open load."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from tests.bench.deliveries import deliveries, write_requests
from tests.bench.effort import Effort
from tests.bench.opened import Answers, open_load
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, ratio_of
from tests.bench.stand import RESTING, App, Bench, running_bench

JOBS: Final = 100
RATES: Final = (500, 350, 250, 175, 125, 90, 60, 40)  # a second; the first that all can take
HOLDS_S: Final = 0.5  # a longer 99th percentile is that of a queue that grows
TARGET: Final = 2.0
P99: Final = 99

log = logging.getLogger("bench")


async def measure(effort: Effort) -> list[Result]:
    """Ours as it runs, ours without the handling that follows a receipt, and the bare route."""
    async with running_bench(effort.folder) as bench:
        apps = {
            "ours": await bench.web(),
            "bare route": await bench.bare(),
            "ours, worker at rest": await bench.web(RESTING),
        }
        jobs = await bench.jobs(effort.sized(JOBS, least=5))
        rates = [each for each in RATES if each <= effort.sized(RATES[0], least=RATES[-1])]
        rate = await _rate_for_all(bench, apps, jobs, rates, effort.seconds)

        async def p99_ms(app: App) -> float:
            told = await _acks(bench, app, jobs, rate, effort.seconds)
            return told.share_s(P99) * 1000

        ways = {name: lambda app=app: p99_ms(app) for name, app in apps.items()}
        found = await in_turns(ways, pairs=effort.pairs)
    whats = {
        "ours": ("ack p99, handled meanwhile", "The worker handles what was received. "),
        "ours, worker at rest": ("ack p99 alone", "Nothing is handled, as beside it. "),
    }
    return [
        ratio_of(
            "B2",
            what,
            paired(found, name, "bare route"),
            names=("ours", "bare route"),
            unit="ms",
            want="<=",
            target=TARGET,
            notes=f"{rate} deliveries a second at fixed instants, whatever is answered. {note}",
        )
        for name, (what, note) in whats.items()
    ]


async def _rate_for_all(
    bench: Bench, apps: Mapping[str, App], jobs: list[str], rates: Sequence[int], seconds: float
) -> int:
    """The highest of the rates at which no application's queue grows, or else the lowest."""
    for rate in rates[:-1]:
        for name, app in apps.items():
            told = await _acks(bench, app, jobs, rate, seconds)
            if told.unanswered or told.share_s(P99) > HOLDS_S:
                log.info("  %d/s is too much for %s", rate, name)
                break
        else:
            return rate
    return rates[-1]


async def _acks(bench: Bench, app: App, jobs: list[str], rate: float, seconds: float) -> Answers:
    made = deliveries(jobs, round(rate * seconds) + 1, app.webhook)
    file = write_requests(bench.new_file("acks"), made)
    told = await open_load(app.address, file, rate=rate, seconds=seconds)
    assert set(told.statuses) <= {"200"}, told.statuses
    await bench.at_rest(app)
    return told
