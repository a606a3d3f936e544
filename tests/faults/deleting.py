"""Steps of deleting, and the look for what is left of a deleted job anywhere."""

from typing import Any, cast

from service.adapters.audit_store import SurrealAuditStore
from service.domain.job import Job
from service.domain.seal import poster_key
from service.flows.audit import AuditReport, audit_bucket
from service.flows.reconcile import sweep_once
from tests.world import World, eventually


async def remove(world: World, job_id: str) -> int:
    answer = await world.http.delete(f"/api/library/{job_id}", headers=world.headers())
    return answer.status_code


async def row(world: World, job_id: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = await world.runtime.store.database.read(
        "SELECT * FROM video_job WHERE record::id(id) = $id", id=job_id
    )
    return rows[0]


async def time_passes(world: World) -> None:
    await world.time_passes()
    await world.runtime.store.database.write(
        "{ UPDATE video_job SET purge_due = time::now() WHERE purge_due != NONE;"
        " UPDATE account SET close_due = time::now() WHERE close_due != NONE; }"
    )


async def sweep(world: World) -> None:
    await world.quiet()
    await time_passes(world)
    await sweep_once(world.runtime.services)
    await world.quiet()


async def until_purged(world: World, *job_ids: str) -> None:
    async def look() -> bool | None:
        rows = [await row(world, each) for each in job_ids]
        if all(each.get("purged_at") and not each.get("purge_due") for each in rows):
            return True
        await sweep(world)
        return None

    await world.quiet()
    await eventually(look)


async def keys(world: World, job: Job) -> set[str]:
    """What lies in the bucket under the job's name, or that of its late video's."""
    assert job.object_key is not None
    page = await s3(world).list_objects_v2(
        Bucket=world.settings.r2_bucket, Prefix=job.object_key.rsplit("/", 2)[0]
    )
    name = job.id.removesuffix("-late")
    return {each["Key"] for each in page.get("Contents", []) if name in each["Key"]}


def s3(world: World) -> Any:
    """The service's own client, for what the service itself never does."""
    return cast("Any", world.runtime.services.bucket).bucket._s3


async def leave_behind(world: World, job: Job) -> None:
    """A poster, and an upload that a dead process began."""
    assert job.object_key is not None
    bucket, key = world.settings.r2_bucket, job.object_key
    await s3(world).put_object(Bucket=bucket, Key=poster_key(key), Body=b"x")
    await s3(world).create_multipart_upload(Bucket=bucket, Key=key)


async def is_gone(world: World, job: Job) -> None:
    """Nowhere is anything of it, and the books are as they should be."""
    assert await keys(world, job) == set(), "in the bucket"
    assert job.object_key not in await world.runtime.services.bucket.unfinished_uploads()
    store = world.runtime.store
    bodies = await store.database.read(
        "SELECT VALUE body FROM inbox WHERE record::id(job) = $id", id=job.id
    )
    assert {bytes(each) for each in bodies} <= {b""}, "raw deliveries"
    after = await row(world, job.id)
    personal = [after[name] for name in ("arguments", "source_url", "metadata") if after.get(name)]
    assert personal == [], "on the row"
    library = await store.database.read("SELECT VALUE record::id(job) FROM library")
    assert job.id not in library
    assert (await status_code(world, job.id), await remove(world, job.id)) == (404, 404)
    report = await world.audit()
    assert (report.violations, report.purges_waiting) == ([], 0)


async def status_code(world: World, job_id: str) -> int:
    answer = await world.http.get(
        "/api/templates/video/status", params={"jobId": job_id}, headers=world.headers()
    )
    return answer.status_code


async def listed(world: World, job: Job) -> dict[str, Any]:
    """What fal's own listing shows of the job's request."""
    assert job.submission is not None
    answer = await world.http.get(
        f"{world.sandbox.fal_url}/v1/models/requests/by-endpoint",
        params={"endpoint_id": job.fal_model or "", "expand": "payloads"},
        headers={"Authorization": "Key any"},
    )
    rows = answer.json()["items"]
    found: dict[str, Any] = next(
        each for each in rows if each["request_id"] == job.submission.request_id
    )
    return found


async def made(world: World, faults: str = "") -> Job:
    await world.grant(100)
    if faults:
        await world.faults(faults)
    job_id = await world.submit()
    await world.until(job_id, "completed")
    return await world.runtime.store.job(job_id)


async def is_orphan(world: World, job: Job) -> bool:
    """Whether the audit that searches the bucket counts the job's video as nobody's."""
    report = AuditReport()
    store = SurrealAuditStore(world.runtime.store.database)
    await audit_bucket(report, store, world.runtime.services.bucket)
    return job.object_key in {each.subject for each in report.violations}
