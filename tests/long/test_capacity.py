"""What a job costs, by process: what the README's capacity model is made of.

`pytest -m long -s tests/long/test_capacity.py` prints it. Processor time, not wall time: it adds up
over processes, and what else the machine does changes it little.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engine.server import Engine, running_engine
from tests.processes.fleet import Customer, Fleet, running_fleet
from tests.processes.running import sandbox_process
from tests.world import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

WARM_UP = 20
SMALL_JOBS, SMALL_BYTES = 200, 200_000
LARGE_JOBS, LARGE_BYTES = 12, 100_000_000
DONE_S = 300.0
MB = 1_000_000
DAY_S = 86_400


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with (
        sandbox_process(tmp_path, "--slots", "64") as stand,
        running_engine(tmp_path / "engine") as engine,
        running_fleet(engine, stand, tmp_path) as running,
    ):
        yield running


def processor_s(pid: int) -> float:
    """The processor time a process has used, in it and for it in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used(fleet: Fleet) -> dict[str, float]:
    """Processor seconds so far, by role."""
    roles = {"web": fleet.webs, "reconciler": fleet.reconcilers}
    seconds = {
        role: sum(processor_s(each.running.pid) for each in members if each.running)
        for role, members in roles.items()
    }
    return seconds | {"database": processor_s(engine_pid(fleet.engine))}


def engine_pid(engine: Engine) -> int:
    assert engine._process is not None
    return engine._process.pid


def stored_bytes(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


async def made(customer: Customer, name: str, count: int, size: int) -> dict[str, float]:
    """Processor seconds for each of so many videos of that size, by role."""
    await customer.grant(count)
    before = used(customer.fleet)
    jobs = [await customer.order(f"{name}-{at}", f"bytes={size}", at=at) for at in range(count)]

    async def all_ready() -> bool | None:
        for job_id in jobs:
            await customer.until(job_id, "completed", within_s=DONE_S)
        return True

    await eventually(all_ready, DONE_S)
    after = used(customer.fleet)
    return {role: (after[role] - before[role]) / count for role in after}


async def test_what_a_job_costs(fleet: Fleet) -> None:
    customer = Customer(fleet=fleet, email="capacity@example.com")
    await made(customer, "warm-up", WARM_UP, SMALL_BYTES)
    folder = fleet.engine.folder / "data"
    stored = stored_bytes(folder)
    small = await made(customer, "small", SMALL_JOBS, SMALL_BYTES)
    grown = (stored_bytes(folder) - stored) / SMALL_JOBS
    large = await made(customer, "large", LARGE_JOBS, LARGE_BYTES)
    mb = (LARGE_BYTES - SMALL_BYTES) / MB
    per_mb = {role: (large[role] - small[role]) / mb for role in large}
    for role, seconds in small.items():
        print(  # noqa: T201 - the figures are the point
            f"\n{role}: {seconds * 1000:.1f} ms of a core for a job, {per_mb[role] * 1000:.2f} ms"
            f" for each MB; {DAY_S / seconds:,.0f} jobs a day for a core"
        )
    print(f"database files: {grown / 1000:.1f} kB a job")  # noqa: T201
    assert small["web"] > 0
    assert large["web"] > small["web"]
    await fleet.consistent()
