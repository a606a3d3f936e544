"""A job that kills every process that works on it."""

from pathlib import Path

import pytest

from service.domain.policy import MAX_FINALISE_ATTEMPTS
from tests.engine.server import running_engine
from tests.processes.fleet import HURRY, PRICE, Customer, Fleet, running_fleet
from tests.processes.running import Stand
from tests.world import eventually

PARKED_S = 300.0  # a start and a lease for each attempt: about a minute on an idle machine

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


async def test_a_job_that_kills_its_worker_is_parked_at_the_limit_and_others_go_on(
    stand: Stand, tmp_path: Path
) -> None:
    """F74: each attempt is counted before the work, so SIGKILLs in the middle of it count too."""
    note = tmp_path / "poison"
    settings = {"POISON": str(note), "LEASE_S": "1"}
    async with (
        running_engine(tmp_path / "engine") as engine,
        running_fleet(engine, stand, tmp_path, hurry=HURRY, **settings) as fleet,
    ):
        customer = Customer(fleet=fleet, email="poison@example.com")
        await customer.grant(2)
        poisoned = await customer.order("poison-bad", "delay=1")
        note.write_text(poisoned, "utf-8")
        healthy = await customer.order("poison-good", "delay=2")

        deaths = await supervised_until_parked(fleet, poisoned)
        await fleet.whole()
        done = await customer.until(healthy, "completed", "failed")

        job = await fleet.store.job(poisoned)
        money = await customer.credits()
        report = await fleet.audit()
    assert deaths == MAX_FINALISE_ATTEMPTS
    assert (job.state.value, job.finalise_attempts) == ("rendered", MAX_FINALISE_ATTEMPTS + 1)
    assert done["status"] == "completed"
    assert (money["available"], money["reserved"]) == (0, PRICE)
    assert (report["parked"], report["states"]) == (1, {"rendered": 1, "ready": 1})


async def supervised_until_parked(fleet: Fleet, job_id: str) -> int:
    """Start whatever dies again, as a supervisor does; how many deaths it took."""
    deaths = 0

    async def look() -> bool | None:
        nonlocal deaths
        deaths += sum(not each.alive for each in fleet.members)
        await fleet.whole()
        return True if (await fleet.store.job(job_id)).parked else None

    await eventually(look, PARKED_S)
    return deaths
