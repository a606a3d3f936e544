"""Words of fal about a job that was deleted, and a late video beside it."""

import pytest

from service.domain.inbox import Delivery
from service.domain.job import Job, JobError, JobState
from service.ports import Grounds
from tests.faults.deleting import is_gone, keys, listed, made, remove, sweep, until_purged
from tests.faults.steps import (
    outcomes,
    redeliver,
    sweep_until,
    until_fal_is_done,
)
from tests.world import World, eventually

BY_HAND = JobError(code="given_up", message="By hand.")


async def ended_early(world: World) -> Job:
    """A failed job whose video fal has made and not announced yet."""
    await world.grant(40)
    await world.faults("late=600")
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    await until_fal_is_done(world)
    await world.runtime.store.close_unfilled(job_id, JobState.FAILED, BY_HAND, Grounds())
    return await world.runtime.store.job(job_id)


async def announce(world: World) -> None:
    await redeliver(world, (await world.requests())[0]["request_id"])
    await world.quiet()


async def test_a_late_video_does_not_bring_a_deleted_job_back(world: World) -> None:
    """F70, F19: it is written off, nothing is delivered, and its raw words do not stay either."""
    job = await ended_early(world)
    assert await remove(world, job.id) == 204
    await until_purged(world, job.id)

    await announce(world)
    await until_purged(world, job.id)

    assert await outcomes(world) == ["late: unwanted"]
    assert await world.states() == {"failed": 1}
    assert await world.money() == (40, 0, 0)
    assert (await world.audit()).written_off == 40
    await is_gone(world, job)


async def test_a_late_video_that_was_kept_for_its_owner_goes_with_the_job(world: World) -> None:
    """F70: one that could not be paid for was parked with its raw delivery."""
    job = await ended_early(world)
    await world.runtime.store.database.write("UPDATE account SET available -= 1, granted -= 1")
    await announce(world)
    assert len(await world.runtime.store.list_deliveries(parked=True, limit=9)) == 1
    assert await remove(world, job.id) == 204
    await until_purged(world, job.id)
    assert await outcomes(world) == ["late: unwanted"]
    assert await world.runtime.store.list_deliveries(parked=True, limit=9) == []
    await world.runtime.store.database.write("UPDATE account SET available += 1, granted += 1")
    await is_gone(world, job)


async def test_unreadable_words_about_a_deleted_job_are_kept_for_nobody(world: World) -> None:
    job = await made(world)
    await remove(world, job.id)
    await until_purged(world, job.id)
    assert job.submission is not None
    words = Delivery(
        job_id=job.id,
        attempt=1,
        request_id=job.submission.request_id,
        user_id="us",
        body=b"\xff{",
        stale=False,
    )
    await world.runtime.store.record_delivery(words, grace_s=0)
    await until_handled(world, words.entry_id)
    await until_purged(world, job.id)
    await is_gone(world, job)


async def until_handled(world: World, entry_id: str) -> None:
    async def look() -> bool | None:
        await sweep(world)
        return True if (await world.runtime.store.delivery(entry_id)).handled_at else None

    await eventually(look)


async def test_a_late_video_outlives_the_job_it_was_made_for(world: World) -> None:
    """F70: what the two have in common is removed with the second of them."""
    job = await ended_early(world)
    store = world.runtime.store
    assert job.submission is not None
    late_id = f"{job.id}-late"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.runtime.nudges, "finalisation", lambda _: None)
        await announce(world)
        assert (await store.job(late_id)).state is JobState.RENDERED
        assert await remove(world, job.id) == 204
        await world.quiet()
    assert (await listed(world, job))["json_input"] is not None, "its video is not fetched yet"
    await sweep_until(world, late_id, "ready")
    assert job.start_image_key in await keys(world, job)
    assert (await world.status(late_id))["status"] == "completed"

    late = await store.job(late_id)
    assert await remove(world, late_id) == 204
    await until_purged(world, job.id, late_id)
    for each in (job, late):
        await is_gone(world, each)
    assert (await listed(world, job))["json_input"] is None


async def test_a_lost_request_is_found_beside_deleted_ones(world: World) -> None:
    """F70, F4: fal's listing shows nothing of what it deleted, and that is no riddle."""
    job = await made(world)
    await remove(world, job.id)
    await until_purged(world, job.id)
    await world.faults("submit_502,drop")
    lost = await world.submit()
    await world.until_state(lost, "submit_unknown")
    await sweep_until(world, lost, "ready")

    await world.runtime.store.database.write("DELETE forgotten_request")
    await world.faults("submit_502,drop")
    await world.grant(100)
    riddle = await world.submit()
    await world.until_state(riddle, "submit_unknown")
    await sweep(world)
    assert (await world.runtime.store.job(riddle)).state is JobState.SUBMIT_UNKNOWN, "not ours"
