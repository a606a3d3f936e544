"""A lease in real processes: lost while its holder is paused, kept while it works."""

import json
import signal
from typing import Any

import pytest

from service.adapters.rows import job_record
from service.domain.job import Job
from tests.processes.fleet import LEASE_S, Customer, Fleet
from tests.processes.running import Process
from tests.world import eventually

# Over three seconds, and more than the sockets between hold: it is not there when he wakes up.
LARGE = "bytes=32000000,slow_file=10000000"
# Longer than three leases.
LONG = f"bytes={int(3.2 * LEASE_S * 100_000)},slow_file=100000"
SOON_S = 60.0


async def holder_of(fleet: Fleet, job_id: str) -> Process:
    """The process that holds the job's lease, once one does and the video is on its way."""

    async def look() -> Process | None:
        holder = await fleet.store.database.read(
            "SELECT VALUE lease_holder FROM ONLY $job", job=job_record(job_id)
        )
        if holder is None or not await fetched(fleet, job_id):
            return None
        pid = int(holder.split("/")[1])
        return next(each for each in fleet.members if each.running and each.running.pid == pid)

    return await eventually(look, SOON_S)


async def fetched(fleet: Fleet, job_id: str) -> int:
    """How often the job's video was fetched."""
    job = await fleet.store.job(job_id)
    assert job.submission is not None
    wanted = job.submission.request_id
    asked = [each for each in await fleet.stand.requests() if each["request_id"] == wanted]
    return sum(each["files"] for each in asked)


def told(process: Process, event: str, job_id: str) -> list[dict[str, Any]]:
    """The lines of its log that say so about the job."""
    lines = [json.loads(line) for line in process.said().splitlines() if line.startswith("{")]
    return [each for each in lines if each["event"] == event and each.get("job_id") == job_id]


@pytest.mark.timeout(300)
async def test_a_holder_paused_beyond_its_lease_changes_nothing_when_it_goes_on(
    fleet: Fleet,
) -> None:
    """F46: another process finishes the job meanwhile; a live long transfer keeps its lease."""
    customer = Customer(fleet=fleet, email="lease@example.com")
    await customer.grant(2)
    long = await customer.order("lease-long", LONG, at=1)
    paused_job = await customer.order("lease-paused", LARGE, at=0)
    holder = await holder_of(fleet, paused_job)
    customer.home = 1 if holder is fleet.webs[0] else 0

    holder.send(signal.SIGSTOP)
    try:
        done = await customer.until(paused_job, "completed", "failed", within_s=SOON_S)
        won = await fleet.store.job(paused_job)
    finally:
        holder.send(signal.SIGCONT)

    async def noticed() -> bool | None:
        return True if told(holder, "finalisation lease lost", paused_job) else None

    await eventually(noticed, SOON_S)
    assert done["status"] == "completed"
    assert (won.fence, await fetched(fleet, paused_job)) == (2, 2)
    assert facts(await fleet.store.job(paused_job)) == facts(won)
    assert [each["fence"] for each in told(holder, "finalisation lease lost", paused_job)] == [1]

    kept = await customer.until(long, "completed", "failed", within_s=SOON_S)
    job = await fleet.store.job(long)
    assert kept["status"] == "completed"
    assert (job.finalise_attempts, job.fence, await fetched(fleet, long)) == (1, 1, 1)
    await settled(fleet, customer, {done["key"], kept["key"]})


def facts(job: Job) -> tuple[object, ...]:
    return job.state, job.version, job.fence, job.object_key, job.object_sha256, job.updated_at


async def settled(fleet: Fleet, customer: Customer, keys: set[str]) -> None:
    """Two videos, each stored once, charged once, and nothing left of any other upload."""
    videos, unfinished = await fleet.objects()
    assert keys <= videos
    assert unfinished == []
    money = await customer.credits()
    assert (money["available"], money["reserved"]) == (0, 0)
    assert [each["kind"] for each in money["entries"]].count("capture") == len(keys)
    assert await fleet.consistent() == len(videos)
