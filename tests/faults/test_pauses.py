"""What fails for every job alike: one alarm, nobody blamed, and recovery by itself, in order."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from service.domain.pauses import Activity
from service.sandbox.object_store import ObjectStore
from tests.faults.steps import storage_client
from tests.world import World, eventually, open_world

JOBS = 10


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The activities that were reported as paused."""
    return [
        getattr(record, "activity", "")
        for record in caplog.records
        if record.message == "paused" and record.levelname == "ERROR"
    ]


async def paused(world: World) -> bool | None:
    return True if await world.runtime.store.pauses() else None


async def until_all_ready(world: World, jobs: int) -> None:
    async def look() -> bool | None:
        await world.sweep()
        return True if await world.states() == {"ready": jobs} else None

    await eventually(look)


@pytest.mark.parametrize("fault", ["submit_401", "submit_403"])
async def test_a_locked_account_pauses_submissions_and_fails_no_job(
    world: World, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F8: jobs wait with their reservations, one alarm, one probe at a time, then all go on."""
    await world.grant(40 * JOBS)
    await world.faults(f"{fault}=1000", times=1000)
    await world.submit(brand="first")
    await eventually(lambda: paused(world))
    for each in range(1, JOBS):
        await world.submit(brand=f"B{each}")
    await world.quiet()

    assert (await world.counts())["submits"] == 1, "nobody else tried"
    assert await world.states() == {"reserved": JOBS}
    assert await world.money() == (0, 40 * JOBS, 0), "nothing was released"

    await world.sweep()
    assert (await world.counts())["submits"] == 2, "one job went first to find out"
    [pause] = await world.runtime.store.pauses()
    assert (pause.activity, pause.failures, pause.shut) == (Activity.SUBMITTING, 2, True)

    await world.no_faults()
    await until_all_ready(world, JOBS)

    assert await world.runtime.store.pauses() == []
    assert alarms(caplog) == ["submitting"]
    assert (await world.counts())["submits"] == 2 + JOBS
    assert await world.money() == (0, 0, 40 * JOBS)
    assert (await world.audit()).violations == []


@pytest_asyncio.fixture(loop_scope="package")
async def with_own_bucket(s3: ObjectStore) -> AsyncIterator[tuple[World, Any]]:
    """A world whose bucket can be taken away."""
    bucket = f"own-{secrets.token_hex(6)}"
    async with open_world(s3, R2_BUCKET=bucket) as world, storage_client(world) as client:
        await client.create_bucket(Bucket=bucket)
        yield world, client


async def remove(client: Any, bucket: str) -> None:
    found = await client.list_objects_v2(Bucket=bucket)
    for each in found.get("Contents", []):
        await client.delete_object(Bucket=bucket, Key=each["Key"])
    await client.delete_bucket(Bucket=bucket)


async def test_a_missing_bucket_pauses_finalisations_and_loses_no_video(
    with_own_bucket: tuple[World, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """F57: no attempt is held against a job, nothing is refunded, and all go on when it is back."""
    world, client = with_own_bucket
    bucket = world.settings.r2_bucket
    await world.grant(40 * JOBS)
    await world.faults("drop", times=JOBS)
    for each in range(JOBS):
        await world.submit(brand=f"B{each}")

    async def rendered() -> bool | None:
        rows = await world.requests()
        done = [row for row in rows if row["state"] == "COMPLETED"]
        return True if len(done) == JOBS else None

    await eventually(rendered)
    await remove(client, bucket or "")

    for _ in range(3):
        await world.sweep()

    assert await world.states() == {"rendered": JOBS}
    assert await world.money() == (0, 40 * JOBS, 0)
    attempts = await world.runtime.store.database.read(
        "SELECT VALUE [finalise_attempts, parked] FROM video_job"
    )
    assert attempts == [[0, False]] * JOBS, "no job is blamed or parked"
    files = (await world.counts())["files"]
    assert files <= JOBS // 2 + 3, "while it is paused only probes fetch anything"
    assert alarms(caplog) == ["finalising"]

    await client.create_bucket(Bucket=bucket)
    await until_all_ready(world, JOBS)

    assert await world.runtime.store.pauses() == []
    assert alarms(caplog) == ["finalising"]
    assert await world.money() == (0, 0, 40 * JOBS)
    assert (await world.audit()).violations == []
