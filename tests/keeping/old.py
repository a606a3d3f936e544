"""What the tests of retention share: a world of its own, and rows that grow old."""

from typing import Any

from service.adapters.store import SurrealStore
from service.domain.errors import Transient
from service.domain.job import JobState
from service.flows import retention
from service.flows.retention import keep_once
from service.ports import Services
from tests.store import bench
from tests.store.bench import LONG_S, job_in
from tests.world import World

EMPTY = b""
GOES = {"body", "kept_since", "start_image_removed_at"}


async def grow_old(store: SurrealStore, days: float, *job_ids: str) -> None:
    """Let so much time pass since these jobs ended and their deliveries were handled."""
    await store.database.write(
        "{ UPDATE video_job SET finished_at -= <duration>$age"
        " WHERE record::id(id) IN $names AND finished_at != NONE;"
        " UPDATE inbox SET handled_at -= <duration>$age"
        " WHERE record::id(job) IN $names AND handled_at != NONE; }",
        age=f"{round(days * 24)}h",
        names=list(job_ids),
    )


async def turn(services: Services, store: SurrealStore) -> retention.Kept:
    """The next hour's turn."""
    await store.database.write("UPDATE chore SET due = time::now()")
    kept = await keep_once(services)
    assert kept is not None
    return kept


def counts(kept: retention.Kept) -> tuple[int, int, int]:
    return (kept.handled_emptied, kept.parked_emptied, kept.images_removed)


async def rows(store: SurrealStore, table: str) -> dict[str, Any]:
    found = await store.database.read(f"SELECT * FROM {table}")
    return {str(each["id"].id): each for each in found}


async def changed(store: SurrealStore, before: dict[str, Any], table: str) -> dict[str, set[str]]:
    """Which fields of which rows are not as they were."""
    after = await rows(store, table)
    assert before.keys() == after.keys()
    return {
        name: fields
        for name, row in before.items()
        if (fields := {key for key in {*row, *after[name]} if row.get(key) != after[name].get(key)})
    }


async def images(world: World) -> set[str]:
    """The start images of jobs here that are in the bucket."""
    named = await world.runtime.store.database.read("SELECT VALUE start_image_key FROM video_job")
    return {key for key in named if await is_there(world.runtime.services, key)}


async def is_there(services: Services, key: str) -> bool:
    try:
        async for _ in services.bucket.read(key):
            return True
    except Transient:
        return False
    return True


async def ended_jobs(services: Services, store: SurrealStore, count: int) -> list[str]:
    """Jobs that ended long ago, each with a delivery and a start image."""
    made = []
    for _ in range(count):
        job = await job_in(store, JobState.READY)
        await services.bucket.put_image(job.start_image_key or "", b"x", "image/png")
        message = bench.delivery(job.id)
        await store.record_delivery(message, grace_s=LONG_S)
        await store.close_delivery(message.entry_id, "rendered")
        made.append(job.id)
    await grow_old(store, 31, *made)
    return made
