"""The database dies under several processes, and comes back."""

import asyncio

import pytest

from tests.processes.fleet import PRICE, Customer, Fleet
from tests.processes.running import Process
from tests.world import eventually

JOBS = 12
SOON_S = 60.0


@pytest.mark.timeout(300)
async def test_a_database_that_dies_under_load_costs_waiting_and_nothing_else(
    fleet: Fleet,
) -> None:
    """F36: webhooks and reads are answered 503 meanwhile; then all goes on, nobody restarted."""
    customer = Customer(fleet=fleet, email="down@example.com")
    await customer.grant(JOBS)
    orders = [
        customer.order(f"down-{at}", "delay=3" if at % 2 else "late=0.5", at=at)
        for at in range(JOBS)
    ]
    jobs = await asyncio.gather(*orders)
    pids = [process_id(each) for each in fleet.members]

    await fleet.engine.kill()
    try:
        for web in fleet.webs:
            await answers_503(fleet, customer, web, jobs[0])
        await eventually(lambda: webhooks_refused(fleet), SOON_S)
    finally:
        await fleet.engine.start()

    for job_id in jobs:
        done = await customer.until(job_id, "completed", "failed", within_s=SOON_S)
        assert done["status"] == "completed"
    assert [process_id(each) for each in fleet.members] == pids, "nobody was restarted"
    await eventually(lambda: webhooks_taken(fleet), SOON_S)
    money = await customer.credits()
    assert (money["available"], money["reserved"]) == (0, 0)
    assert customer.granted == JOBS * PRICE
    await fleet.consistent()


def process_id(process: Process) -> int:
    assert process.running is not None
    assert process.alive
    return process.running.pid


async def answers_503(fleet: Fleet, customer: Customer, web: Process, job_id: str) -> None:
    status, money, ready = await asyncio.gather(
        fleet.http.get(
            f"{web.url}/api/templates/video/status",
            params={"jobId": job_id},
            headers=customer.headers,
        ),
        fleet.http.get(f"{web.url}/api/credits", headers=customer.headers),
        fleet.http.get(f"{web.url}/health/ready"),
    )
    assert [each.status_code for each in (status, money, ready)] == [503, 503, 503]
    assert status.headers["retry-after"]


async def answered(fleet: Fleet) -> dict[str, list[int | None]]:
    """What each of these jobs' webhooks was answered, attempt by attempt."""
    asked = await fleet.stand.requests_by_brand()
    return {
        brand: [each["status"] for request in requests for each in request["deliveries"]]
        for brand, requests in asked.items()
        if brand.startswith("down-")
    }


async def webhooks_refused(fleet: Fleet) -> bool | None:
    statuses = [each for found in (await answered(fleet)).values() for each in found]
    assert not {each for each in statuses if each is not None} - {200, 503}, statuses
    return True if statuses.count(503) >= JOBS // 4 else None


async def webhooks_taken(fleet: Fleet) -> bool | None:
    """Every webhook in the end: fal sent it again, and it was stored."""
    found = (await answered(fleet)).values()
    return True if len(found) == JOBS and all(each[-1:] == [200] for each in found) else None
