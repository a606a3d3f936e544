"""B1: durable acknowledgements of deliveries a second, by wrk."""

from collections.abc import Mapping, Sequence
from typing import Final

from tests.bench.effort import Effort
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, ratio_of
from tests.bench.stand import RESTING, Bench, running_bench, whole

JOBS: Final = 100
TARGET: Final = 0.85
NOTES: Final = (
    "16 connections, every delivery signed, distinct and of a job that exists; both write to the "
    "same synced RocksDB. "
)


async def measure(effort: Effort) -> list[Result]:
    """Ours as it runs, ours without the handling that follows a receipt, and the bare route."""
    async with running_bench(effort.folder) as bench:
        apps = {
            "ours": await bench.web(),
            "bare route": await bench.bare(),
            "ours, worker at rest": await bench.web(RESTING),
        }
        jobs = await bench.jobs(effort.sized(JOBS, least=5))

        found = await in_turns(
            {
                name: lambda app=app: bench.acks(app, jobs, effort.seconds)  # type: ignore[misc]
                for name, app in apps.items()
            },
            pairs=effort.pairs,
        )
        await _all_are_stored(bench, found, effort.seconds)
    whats = {
        "ours": ("durable acks, handled meanwhile", "The worker handles what was received. "),
        "ours, worker at rest": ("durable acks alone", "Nothing is handled, as beside it. "),
    }
    return [
        ratio_of(
            "B1",
            what,
            paired(found, name, "bare route"),
            names=("ours", "bare route"),
            unit="/s",
            want=">=",
            target=TARGET,
            notes=NOTES + note,
        )
        for name, (what, note) in whats.items()
    ]


async def _all_are_stored(
    bench: Bench, found: Mapping[str, Sequence[float]], seconds: float
) -> None:
    """What was answered is there: a rate of answers that were no promises would mean nothing."""
    answered = sum(sum(rates) for rates in found.values()) * whole(seconds)
    stored = await bench.store.database.read(
        "RETURN count(SELECT id FROM inbox) + count(SELECT id FROM bare_delivery)"
    )
    assert stored >= answered * 0.99, f"{stored} deliveries are stored, {answered:.0f} answered"
