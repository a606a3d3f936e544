"""B13: what a second web process on the same engine adds, and what stands in its way."""

import asyncio
import contextlib
import os
import resource
import signal
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from service.domain.job import JobState
from tests.bench.deliveries import deliveries, lua_script
from tests.bench.effort import Effort
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, figure, ratio_of
from tests.bench.stand import App, Bench, busy_s, running_bench, whole
from tests.bench.wrk import rate
from tests.world import OWNER, token

TARGET: Final = 1.7
JOBS: Final = 100
SHARE: Final = 0.2  # of a processor for each web process: two have room for both and the engine
MOST_PER_S: Final = 2_000  # deliveries that one web process could take, with room to spare
HELD_MOST_PER_S: Final = 600
LOOK_S: Final = 0.005
ONE: Final = "one web process"
TWO: Final = "two web processes"


@dataclass(kw_only=True, slots=True)
class Used:
    """Processor time for each answer, in milliseconds, once for every turn."""

    web: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)
    wrk: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)  # processors, while the load lasts

    @property
    def medians(self) -> list[float]:
        """Of web, engine, wrk and busy; the first turn is no part of any pair."""
        return [statistics.median(each[1:]) for each in asdict(self).values()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    bench: Bench
    webs: list[App]
    jobs: list[str]
    seconds: float

    @property
    def engine(self) -> int:
        process = self.bench.engine._process
        assert process is not None
        return process.pid

    async def reads(self, webs: Sequence[App]) -> float:
        """Status reads answered in a second, all processes together."""
        headers = {"Authorization": f"Bearer {token(OWNER)}"}
        path = f"/api/templates/video/status?jobId={self.jobs[0]}"
        runs = [rate(each.url + path, self.seconds, headers=headers) for each in webs]
        return sum(await asyncio.gather(*runs))

    async def acks(self, webs: Sequence[App], most_per_s: int = MOST_PER_S) -> float:
        """Deliveries answered in a second, each its own; all are signed before one is sent."""
        count = round(most_per_s * self.seconds)
        made = [deliveries(self.jobs, count, each.webhook) for each in webs]
        scripts = [lua_script(self.bench.new_file("acks.lua"), each) for each in made]
        runs = [
            rate(web.url, self.seconds, script=script)
            for web, script in zip(webs, scripts, strict=True)
        ]
        return sum(await asyncio.gather(*runs))

    async def counted(self, load: "Load", webs: Sequence[App], used: Used) -> float:
        """Answers a second under a load, noting what each took of whose processor time."""
        pids = [each.pid for each in webs]
        web_s, engine_s, wrk_s = busy_s(*pids), busy_s(self.engine), _children_s()
        found = await load(webs)
        wrk_s = _children_s() - wrk_s
        at_once_s = busy_s(*pids) - web_s + busy_s(self.engine) - engine_s + wrk_s
        await self.bench.at_rest(*webs)  # handling what was received is a part of it
        kilos = found * self.seconds / 1000  # so that seconds over it are milliseconds each
        used.web.append((busy_s(*pids) - web_s) / kilos)
        used.engine.append((busy_s(self.engine) - engine_s) / kilos)
        used.wrk.append(wrk_s / kilos)
        used.busy.append(at_once_s / self.seconds)
        return found


Load = Callable[[Sequence[App]], Awaitable[float]]


async def measure(effort: Effort) -> list[Result]:
    """Status reads and acks: as the machine lets them, and with each web held to a share."""
    async with running_bench(effort.folder) as bench:
        fleet = Fleet(
            bench=bench,
            webs=[await bench.web(), await bench.web()],
            jobs=await bench.jobs(effort.sized(JOBS, least=5), JobState.READY),
            seconds=whole(effort.seconds),
        )
        share = f"each held to {SHARE:.0%} of a processor"
        loads: Mapping[str, Load] = {
            f"status reads, {share}": held(fleet.reads),
            f"acks, {share}": held(partial(fleet.acks, most_per_s=HELD_MOST_PER_S)),
            f"status reads, {os.cpu_count()} processors for everything": fleet.reads,
            f"acks, {os.cpu_count()} processors for everything": fleet.acks,
        }
        return [await _scaled(fleet, what, load, effort.pairs) for what, load in loads.items()]


async def _scaled(fleet: Fleet, what: str, load: Load, pairs: int) -> Result:
    used = {ONE: Used(), TWO: Used()}
    found = await in_turns(
        {
            ONE: lambda: fleet.counted(load, fleet.webs[:1], used[ONE]),
            TWO: lambda: fleet.counted(load, fleet.webs, used[TWO]),
        },
        pairs=pairs,
    )
    result = ratio_of(
        "B13",
        f"two web processes over one: {what}",
        paired(found, TWO, ONE),
        names=(TWO, ONE),
        unit="/s",
        want=">=",
        target=TARGET,
        notes=" ".join(_told(name, each) for name, each in used.items())
        + f" {_saturation(used[TWO])}",
    )
    return replace(result, details={name: asdict(each) for name, each in used.items()})


def _told(name: str, used: Used) -> str:
    web, engine, wrk, busy = used.medians
    return (
        f"{name.capitalize()}: web {figure(web)}, engine {figure(engine)}, wrk {figure(wrk)} ms "
        f"of processor time an answer; {figure(busy)} of {os.cpu_count()} processors busy."
    )


def _saturation(used: Used) -> str:
    """How many web processes, each with a processor of its own, would keep the engine busy."""
    web, engine, *_ = used.medians
    return (
        f"One processor for the engine would be full at {figure(1000 / engine)}/s, with "
        f"{figure(web / engine)} web processes of a processor each."
    )


def held(load: Load) -> Load:
    """The same while each web process gets no more than its share of a processor.

    Otherwise one web process, the engine and the load fill a small machine, and a second shows
    nothing but that.
    """

    async def loaded(webs: Sequence[App]) -> float:
        async with contextlib.AsyncExitStack() as stack:
            for each in webs:
                await stack.enter_async_context(_held(each.pid))
            return await load(webs)

    return loaded


@contextlib.asynccontextmanager
async def _held(pid: int) -> AsyncIterator[None]:
    task = asyncio.create_task(_hold(pid))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        os.kill(pid, signal.SIGCONT)


async def _hold(pid: int) -> None:
    """Stop the process whenever it is ahead of its share, until it is not."""
    began, used = time.monotonic(), _run_s(pid)
    while True:
        ahead = _run_s(pid) - used > SHARE * (time.monotonic() - began)
        os.kill(pid, signal.SIGSTOP if ahead else signal.SIGCONT)
        await asyncio.sleep(LOOK_S)


def _run_s(pid: int) -> float:
    """Processor time so far, finer than the ticks of /proc/PID/stat; of its main thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text("utf-8").split()[0]) / 1e9


def _children_s() -> float:
    """Processor time of what was started here and has ended: the loads."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
