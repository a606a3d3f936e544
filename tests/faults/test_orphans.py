"""What lies in the bucket and belongs to nobody is found by the audit that searches for it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from service.adapters.audit_store import SurrealAuditStore
from service.flows.audit import AuditReport, audit_bucket
from service.sandbox.object_store import ObjectStore
from tests.faults.steps import storage_client
from tests.world import TINY, World, open_world

BUCKET = "searched"


@pytest_asyncio.fixture(loop_scope="package")
async def alone(s3: ObjectStore) -> AsyncIterator[World]:
    """A world with a bucket of its own."""
    async with open_world(s3, sandbox=replace(TINY, bucket=BUCKET)) as world:
        yield world


async def searched(world: World) -> AuditReport:
    report = AuditReport()
    store = SurrealAuditStore(world.runtime.store.database)
    await audit_bucket(report, store, world.runtime.services.bucket)
    return report


async def test_videos_and_uploads_of_nobody_are_found(
    alone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alone.grant(100)
    job_id = await alone.submit()
    key = (await alone.until(job_id, "completed"))["key"]
    clean = await searched(alone)
    assert (clean.stored, clean.violations) == (1, [])

    async with storage_client(alone) as client:
        await client.put_object(Bucket=BUCKET, Key="users/0/library/nobodys.mp4", Body=b"x")
        await client.put_object(Bucket=BUCKET, Key="users/0/start/an-image.png", Body=b"x")
        await client.create_multipart_upload(Bucket=BUCKET, Key=key)

    monkeypatch.setattr("service.flows.audit.PAGE", 1)
    found = await searched(alone)
    assert found.stored == 2
    assert sorted((each.subject, each.problem) for each in found.violations) == sorted(
        [
            ("users/0/library/nobodys.mp4", "a video of no job"),
            (key, "an upload nobody will complete"),
        ]
    )
