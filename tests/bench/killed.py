"""B9: how much later everything is finished when a web process is killed under load."""

import asyncio
import contextlib
import itertools
import statistics
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.bench.effort import Effort
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, Series, count_of
from tests.engine.server import running_engine
from tests.processes.campaign import Campaign, Outcome
from tests.processes.fleet import HURRY, Fleet, running_fleet
from tests.processes.running import sandbox_process
from tests.world import eventually

SLACK_S: Final = 2.0  # how much later than the lease's end all may be done
JOBS: Final = 60
LEAST_JOBS: Final = 6
LEASE_S: Final = 60.0  # as the service has it
QUICK_HURRY: Final = 0.02
WITHIN_S: Final = 300.0
DELIVERED_S: Final = 60.0
LONG_WAY: Final = "slow_file=40000,bytes=60000"  # a second and a half
CALM: Final = "without a kill"
BY_VIDEOS: Final = "while videos are on their way"
BY_ORDERS: Final = "while orders come in"

Restarts = list[asyncio.Task[None]]
Trouble = Callable[[Campaign, Restarts], Coroutine[Any, Any, None]]

_numbers: Final = itertools.count(1)


class Steady(Campaign):
    """Every video is long on its way; nothing else goes wrong by itself."""

    def faults(self, at: int) -> str:  # noqa: ARG002 - the same for all
        return LONG_WAY


@dataclass(kw_only=True, slots=True)
class Found:
    """What the runs came to, all together."""

    lost: int = 0
    double: int = 0
    wrong: list[Any] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.lost += outcome.lost
        self.double += len(outcome.double)
        self.wrong += [*outcome.wrong, *outcome.money]


async def measure(effort: Effort) -> list[Result]:
    """The same orders with and without a SIGKILL of a web process, which comes back at once.

    The lease and every other wait are so much shorter than usual: a minute would be a long run.
    """
    found, jobs = Found(), effort.sized(JOBS, least=LEAST_JOBS)
    hurry = HURRY if effort.scale == 1 else QUICK_HURRY
    lease = {"LEASE_S": str(LEASE_S * hurry)}
    sandbox = ("--slots", "64", "--time-scale", str(hurry))
    async with (
        sandbox_process(effort.folder, *sandbox) as stand,
        running_engine(effort.folder / "engine") as engine,
        running_fleet(engine, stand, effort.folder, hurry=hurry, **lease) as fleet,
    ):
        took = await in_turns(
            {
                BY_VIDEOS: lambda: _run(fleet, jobs, kill_by_videos, found),
                CALM: lambda: _run(fleet, jobs, peace, found),
                BY_ORDERS: lambda: _run(fleet, jobs, kill_by_orders, found),
            },
            pairs=effort.pairs,
        )
        await fleet.consistent()  # raises where the books, the rows and the bucket disagree
    assert found.wrong == []
    return [
        _later(took, BY_VIDEOS, hurry, "What it held is taken up when the leases have run out."),
        _later(
            took,
            BY_ORDERS,
            hurry,
            "An attempt that was recorded and maybe not sent is first proven absent from fal's "
            "list, which takes about two leases; nothing is sent twice.",
        ),
        _count("jobs lost", found.lost),
        _count("requests made twice at fal", found.double),
    ]


def _later(took: Mapping[str, Sequence[float]], when: str, hurry: float, why: str) -> Result:
    extra = [killed - calm for killed, calm in paired(took, when, CALM)]
    return Result(
        bench="B9",
        what=f"a web process killed {when}: all finished so much later",
        ours=Series(name=when, values=tuple(took[when]), unit="s"),
        beside=Series(name=CALM, values=tuple(took[CALM]), unit="s"),
        value=statistics.median(extra),
        want="<=",
        target=LEASE_S * hurry + SLACK_S,
        notes="Orders to two web processes and two reconcilers, each video a second and a half on "
        f"its way. The lease is {LEASE_S * hurry:g} s, and all waits have {hurry:.0%} of their "
        f"usual length. {why} The most it took: {max(extra):.1f} s more.",
        details={"extra_s": extra},
    )


def _count(what: str, count: int) -> Result:
    notes = "Over all runs; the books, the rows and the bucket agree by the audit."
    return count_of("B9", what, count, unit="", want="<=", target=0, notes=notes)


async def _run(fleet: Fleet, jobs: int, trouble: Trouble, found: Found) -> float:
    """Seconds from the first order to the last video; then wait until fal has told everything."""
    campaign = Steady(fleet=fleet, jobs=jobs, name=f"run{next(_numbers)}")
    restarts: Restarts = []
    await campaign.run(lambda _: trouble(campaign, restarts), within_s=WITHIN_S)
    await asyncio.gather(*restarts)
    with contextlib.suppress(TimeoutError):  # what fal could not tell was found without it
        await eventually(campaign.all_delivered, DELIVERED_S)
    found.add(await campaign.outcome())
    return campaign.wall_s


async def peace(_campaign: Campaign, _restarts: Restarts) -> None:
    """Nobody is killed."""


async def kill_by_orders(campaign: Campaign, restarts: Restarts) -> None:
    """Half of the orders are in; some are about to be sent to fal."""
    await campaign.once_accepted(campaign.jobs // 2, WITHIN_S)
    await _kill(campaign, restarts)


async def kill_by_videos(campaign: Campaign, restarts: Restarts) -> None:
    """All orders are at fal or rendered; every transfer that can be is under way."""
    await campaign.once_accepted(campaign.jobs, WITHIN_S)

    async def look() -> bool | None:
        unsent = await campaign.fleet.store.database.read(
            "SELECT id FROM video_job WHERE state IN ['reserved', 'submitting', 'submit_unknown']"
        )
        return None if unsent else True

    await eventually(look, WITHIN_S)
    await _kill(campaign, restarts)


async def _kill(campaign: Campaign, restarts: Restarts) -> None:
    """SIGKILL; started again at once, as by its supervisor, but nobody waits for that."""
    web = campaign.fleet.webs[0]
    await web.kill()
    restarts.append(asyncio.create_task(web.start()))
