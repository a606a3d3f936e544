"""What the tests of deleting share: jobs that are deleted, and what is due then."""

from typing import Any

from service.adapters.store import SurrealStore
from service.domain.inbox import Delivery
from service.domain.job import FINAL, Job, JobState
from service.ports import Deleted
from tests.store.bench import LONG_S, job_in

DELAYS = (LONG_S, 2 * LONG_S)
ENDED = sorted(FINAL)
# What becomes of these is nobody's any more; all else tells where the credits went.
SCRUBBED = {"arguments", "source_url", "metadata", "last_problem"}
WRITTEN = {"deleted_at", "purge_due", "purge_attempts", "kept_since", "version", "updated_at"}


async def deleted_job(store: SurrealStore, state: JobState = JobState.READY, **new: Any) -> Job:
    job = await job_in(store, state, **new)
    assert await store.begin_delete(job.id) is Deleted.DELETED
    return job


async def taken(store: SurrealStore, job_id: str) -> Job:
    job = await store.take_purge(job_id, DELAYS)
    assert job is not None, "it was due"
    return job


async def purged_job(store: SurrealStore) -> Job:
    job = await taken(store, (await deleted_job(store)).id)
    assert await store.finish_purge(job, None)
    return job


async def recorded(store: SurrealStore, message: Delivery, outcome: str | None = "x") -> str:
    assert await store.record_delivery(message, grace_s=LONG_S)
    if outcome is not None:
        await store.close_delivery(message.entry_id, outcome)
    return message.entry_id


async def body(store: SurrealStore, entry_id: str) -> bytes:
    return (await store.delivery(entry_id)).body


async def due(store: SurrealStore) -> tuple[str, ...]:
    return (await store.due_removals(50)).jobs


async def make_due(store: SurrealStore) -> None:
    await store.database.write(
        "{ UPDATE video_job SET purge_due = time::now() - 1s WHERE purge_due != NONE;"
        " UPDATE account SET close_due = time::now() - 1s WHERE close_due != NONE; }"
    )
