"""Steps that several fault tests take, and what they look at afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioboto3

from service.flows.reconcile import sweep_once
from tests.world import World, eventually


async def sweep_until(world: World, job_id: str, *wanted: str) -> None:
    """Make the job due and sweep, again and again, until it is in one of the wanted states."""

    async def look() -> bool | None:
        await world.runtime.store.make_due(job_id)
        await sweep_once(world.runtime.services)
        await world.quiet()
        job = await world.runtime.store.job(job_id)
        return True if job.state.value in wanted else None

    await eventually(look)


async def sweep_now(world: World, job_id: str) -> None:
    """One look of the reconciler at the job, and the work that follows from it."""
    await world.runtime.store.make_due(job_id)
    await sweep_once(world.runtime.services)
    await world.quiet()


async def until_fal_is_done(world: World) -> None:
    async def look() -> bool | None:
        rows = await world.requests()
        done = rows and all(each["state"] == "COMPLETED" for each in rows)
        return True if done else None

    await eventually(look)


async def accepted(world: World, faults: str) -> str:
    """A job that fal has accepted under these faults and whose state is `submitted`."""
    await world.grant(100)
    await world.faults(faults)
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    return job_id


async def rendered(world: World, faults: str = "bytes=40000") -> str:
    """A job whose video is there, with nobody at it: its nudges are taken away."""
    job_id = await accepted(world, f"{faults},drop")
    await until_fal_is_done(world)
    job = await world.runtime.store.job(job_id)
    assert job.submission is not None
    verdict = await world.runtime.services.fal.check(job.fal_model or "", job.submission)
    url = getattr(verdict, "source_url", None)
    request_id = job.submission.request_id
    await world.runtime.store.apply_rendered(job_id, request_id, url, entry_id=None)
    return job_id


async def outcomes(world: World) -> list[Any]:
    """What became of each inbox entry, in any order."""
    rows: list[Any] = await world.runtime.store.database.read("SELECT VALUE outcome FROM inbox")
    return rows


async def redeliver(world: World, request_id: str, times: int = 1) -> list[int | None]:
    """Let fal send its last webhook again, so often at once; what it was answered."""
    url = f"{world.sandbox.fal_url}/sandbox/redeliver/{request_id}"
    answer = await world.http.post(url, params={"times": str(times)})
    statuses: list[int | None] = answer.json()["statuses"]
    return statuses


@asynccontextmanager
async def storage_client(world: World) -> AsyncIterator[Any]:
    """A client of the world's object store for what the service itself never does."""
    settings = world.settings
    assert settings.r2_secret_access_key is not None
    session = aioboto3.Session(
        aws_access_key_id=settings.r2_access_key_id,
        aws_secret_access_key=settings.r2_secret_access_key.get_secret_value(),
        region_name="us-east-1",
    )
    async with session.client("s3", endpoint_url=settings.r2_endpoint_url) as client:
        yield client
