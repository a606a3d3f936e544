"""The whole service on Cloudflare's simulator, and what a dead attempt leaves in a store."""

import httpx
import pytest

from service.adapters.metered import MeteredBucket
from service.adapters.object_store import R2Bucket
from service.flows.finalise import finalise
from service.sandbox.object_store import ObjectStore
from tests.faults.steps import rendered
from tests.r2.simulator import Simulator
from tests.transfer.servers import Fault, S3FaultProxy
from tests.world import World, eventually, open_world

PARTS = 17_000_000  # bytes: more than what goes as one request


def r2(world: World) -> R2Bucket:
    """The bucket below what counts its failures."""
    metered = world.runtime.services.bucket
    assert isinstance(metered, MeteredBucket)
    assert isinstance(metered.bucket, R2Bucket)
    return metered.bucket


@pytest.mark.parametrize("plan", ["", f"bytes={PARTS}"], ids=["one request", "parts"])
async def test_a_job_becomes_ready_on_r2(s3: ObjectStore, simulator: Simulator, plan: str) -> None:
    """Start image, video, audit and the owner's link, with signatures that are checked."""
    async with open_world(s3, simulator.environment()) as world:
        await world.grant(100)
        if plan:
            await world.faults(plan)
        job_id = await world.submit()

        done = await world.until(job_id, "completed", "failed")

        assert done["status"] == "completed"
        assert await world.money() == (60, 0, 40)
        assert (await world.audit()).violations == []
        job = await world.runtime.store.job(job_id)
        stored = simulator.stored(job.object_key or "")
        assert stored is not None
        assert len(stored) == job.object_size
        assert not plan or len(stored) == PARTS
        async with httpx.AsyncClient(trust_env=False) as browser:
            part = await browser.get(done["url"], headers={"Range": "bytes=0-11"})
        assert (part.status_code, part.content) == (206, stored[:12])
        assert simulator.uploads_of(job.object_key or "") == []


async def leave_an_upload(world: World, job_id: str) -> str:
    """What an attempt leaves that dies in the middle of its upload; the key."""
    job = await world.runtime.store.lease(job_id, "dead", lease_s=0.001)
    assert job is not None
    assert job.object_key is not None
    bucket = r2(world)
    await bucket._s3.create_multipart_upload(Bucket=bucket._bucket, Key=job.object_key)
    return job.object_key


async def finalised_by_the_heir(world: World, job_id: str) -> None:
    async def heir() -> bool | None:
        return await finalise(world.runtime.services, job_id, "heir") or None

    await eventually(heir)
    assert await world.money() == (60, 0, 40)
    assert (await world.audit()).violations == []


async def test_the_upload_of_a_dead_attempt_is_gone_once_its_job_is_ready(world: World) -> None:
    """F55: the next attempt aborts it; afterwards the store lists none."""
    job_id = await rendered(world)
    key = await leave_an_upload(world, job_id)
    bucket = r2(world)

    await finalised_by_the_heir(world, job_id)

    listed = await bucket._s3.list_multipart_uploads(Bucket=bucket._bucket, Prefix=key)
    assert "Uploads" not in listed


async def test_a_store_that_cannot_list_uploads_does_not_hold_a_job_up(
    s3: ObjectStore, simulator: Simulator
) -> None:
    """The simulator answers 501: what is left there costs a little, the video matters more."""
    async with open_world(s3, simulator.environment()) as world:
        job_id = await rendered(world)
        key = await leave_an_upload(world, job_id)

        await finalised_by_the_heir(world, job_id)

        (left,) = simulator.uploads_of(key)
        bucket = r2(world)
        await bucket._s3.abort_multipart_upload(Bucket=bucket._bucket, Key=key, UploadId=left)


async def test_jobs_outlast_a_time_in_which_our_key_is_refused(
    s3: ObjectStore, simulator: Simulator, on_the_way: S3FaultProxy
) -> None:
    """F57: 403 for all: nobody's job is blamed or refunded, and all go on once it is over."""
    url = f"http://127.0.0.1:{on_the_way.port}{simulator.path}"
    async with open_world(s3, simulator.environment(url)) as world:
        job_id = await rendered(world)
        on_the_way.faults.append(Fault("", "403 AccessDenied", times=999))

        for _ in range(3):
            await world.sweep()
        assert (await world.post()).status_code == 503, "no new order is taken meanwhile"

        job = await world.runtime.store.job(job_id)
        assert (job.state.value, job.parked, job.finalise_attempts) == ("rendered", False, 0)
        assert await world.money() == (60, 40, 0)

        on_the_way.forget()

        async def ready() -> bool | None:
            await world.sweep()
            return await world.states() == {"ready": 1} or None

        await eventually(ready)
        assert await world.money() == (60, 0, 40)
        assert (await world.audit()).violations == []
