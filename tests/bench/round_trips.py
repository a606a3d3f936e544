"""B12: database round trips of an acknowledgement, a read and a finalisation; start and help."""

import asyncio
import compileall
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from service.commands.local import free_port
from service.sandbox.object_store import object_store
from tests.bench.counting import Counts, counted_calls
from tests.bench.effort import Effort
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, Series, count_of, ratio_of
from tests.processes.running import ROOT, Stand, sandbox_process, web_environment
from tests.world import open_world

BENCH: Final = "B12"
ACK: Final = 1
STATUS: Final = 1
FINALISE: Final = 4
START_S: Final = 1.5
HELP_S: Final = 0.3
RUNS: Final = 5  # of a thing that takes milliseconds, as one value
READY: Final = re.compile("listening on")


async def measure(effort: Effort) -> list[Result]:
    counts = await one_job()
    results = [
        _trips("ack", max(counts["ack"]), ACK),
        _trips("status read", max(counts["status"]), STATUS),
        _trips("finalisation", max(counts["finalise"]), FINALISE),
    ]
    async with sandbox_process(effort.folder) as stand:
        return [*results, await _start(effort, stand), await _help(effort)]


async def one_job() -> Counts:
    """The round trips of a job that goes from its order to its video."""
    with object_store(0) as store:
        async with open_world(store) as world:
            await world.grant(100)
            with counted_calls(world) as counts:
                job_id = await world.submit()
                await world.until(job_id, "completed")
                await world.quiet()
    return counts


def _trips(what: str, count: int, most: int) -> Result:
    return count_of(
        BENCH, f"database round trips of one {what}", count, unit="calls", want="<=", target=most
    )


async def _start(effort: Effort, stand: Stand) -> Result:
    folder = effort.folder / "data"
    # As in the image, and wherever a package is installed: none of it is compiled at a start.
    compileall.compile_dir(ROOT / "service", quiet=1)

    async def started() -> float:
        return await asyncio.to_thread(start_s, stand, folder)

    values = (await in_turns({"start": started}, pairs=effort.pairs))["start"]
    ours = Series(name="fal-video web", values=tuple(values), unit="s")
    return Result(
        bench=BENCH,
        what="process start to ready",
        ours=ours,
        beside=None,
        value=ours.median,
        want="<=",
        target=START_S,
        notes="Its bytecode is there already, as in the image.",
    )


async def _help(effort: Effort) -> Result:
    async def ours() -> float:
        return await asyncio.to_thread(run_s, "-m", "service", "--help")

    async def bare() -> float:
        return await asyncio.to_thread(run_s, "-c", "pass")

    found = await in_turns({"fal-video --help": ours, "python -c pass": bare}, pairs=effort.pairs)
    pairs = paired(found, "fal-video --help", "python -c pass")
    names = ("fal-video --help", "python -c pass")
    beside = ratio_of(BENCH, "help", pairs, names=names, unit="s", want="<=", target=HELP_S)
    return Result(
        bench=BENCH,
        what="fal-video --help, seconds",
        ours=beside.ours,
        beside=beside.beside,
        value=beside.ours.median,
        want="<=",
        target=HELP_S,
    )


def start_s(stand: Stand, folder: Path) -> float:
    """Seconds from exec to the first connection that is accepted, on an embedded database."""
    settings = {"SURREALDB_URL": f"surrealkv://{folder}", "WEBHOOK_CANARY_S": "0"}
    environment = {**os.environ, **web_environment(stand, free_port(), **settings)}
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "service", "web"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        ready = any(READY.search(line) for line in process.stdout)
        took = time.perf_counter() - began
        process.terminate()
    assert ready, "the process ended before it served"
    return took


def run_s(*arguments: str) -> float:
    """Seconds of one run of Python, as the mean of a few."""
    began = time.perf_counter()
    for _ in range(RUNS):
        subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    return (time.perf_counter() - began) / RUNS
