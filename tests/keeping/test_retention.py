"""What is old goes, once an hour, in batches; every fact about it stays, and so does all else."""

import logging
from dataclasses import replace

import pytest

from service.domain.inbox import Delivery
from service.domain.job import JobState
from service.domain.policy import DAY_S
from service.flows import retention
from service.flows.receive import handle
from tests.faults.steps import sweep_until, until_fal_is_done
from tests.keeping.old import EMPTY, changed, counts, grow_old, images, rows, turn
from tests.store import bench
from tests.store.bench import LONG_S, job_in
from tests.world import World


async def test_what_is_old_goes_and_every_fact_stays(world: World) -> None:
    """Of a job that ended long ago; not of a younger one, an unfinished one or a parked one."""
    store = world.runtime.store
    await world.grant(400)
    old, young = await world.submit(brand="old"), await world.submit(brand="young")
    for each in (old, young):
        await world.until(each, "completed")
    await world.faults("drop", times=2)
    open_one, parked = await world.submit(brand="open"), await world.submit(brand="parked")
    for each in (open_one, parked):
        await world.until_state(each, "submitted")
    await world.quiet()
    assert await store.park(await store.job(parked), "odd")
    await grow_old(store, 31, old, open_one, parked)
    await grow_old(store, 29, young)
    inbox, jobs, had = (
        await rows(store, "inbox"),
        await rows(store, "video_job"),
        await images(world),
    )
    keys = {name: row["start_image_key"] for name, row in jobs.items()}
    assert had == set(keys.values())

    kept = await turn(world.runtime.services, store)

    assert counts(kept) == (1, 0, 1)
    [emptied] = [name for name, row in inbox.items() if str(row["job"].id) == old]
    assert await changed(store, inbox, "inbox") == {emptied: {"body", "kept_since"}}
    assert (await store.delivery(emptied)).body == EMPTY
    assert await changed(store, jobs, "video_job") == {
        old: {"kept_since", "start_image_removed_at"}
    }
    assert await images(world) == had - {keys[old]}
    assert counts(await turn(world.runtime.services, store)) == (0, 0, 0), "it is not found again"
    assert (await world.audit()).violations == []
    assert (await world.status(old))["status"] == "completed"
    await sweep_until(world, open_one, "ready")
    assert (await store.job(parked)).parked, "no timer closes it"


async def test_a_video_that_comes_after_all_that_is_still_delivered(world: World) -> None:
    """Its ended job has neither words nor image any more; and a repeat is still a repeat."""
    store = world.runtime.store
    await world.grant(100)
    await world.faults("refuse,drop")
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    await sweep_until(world, job_id, "failed")
    job = await store.job(job_id)
    assert job.submission is not None
    body = (
        b'{"request_id": "%s", "status": "OK", "payload":'
        b' {"video": {"url": "https://v3.fal.media/files/a/late.mp4"}}}'
    ) % job.submission.request_id.encode()
    message = Delivery(
        job_id=job_id,
        attempt=1,
        request_id=job.submission.request_id,
        user_id="us",
        body=body,
        stale=False,
    )
    await grow_old(store, 31, job_id)
    assert counts(await turn(world.runtime.services, store))[2] == 1

    assert await store.record_delivery(message, grace_s=LONG_S)
    assert await handle(world.runtime.services, message.entry_id)

    late = await store.job(f"{job_id}-late")
    assert (late.recovers, late.start_image_key) == (job_id, job.start_image_key)
    await grow_old(store, 31, job_id)
    assert counts(await turn(world.runtime.services, store))[0] == 1
    assert not await store.record_delivery(message, grace_s=LONG_S), "its id is of its words"
    assert (await store.delivery(message.entry_id)).outcome == "late: recovered"


async def test_a_parked_delivery_loses_its_words_and_waits_on(world: World) -> None:
    """Redriving it then asks fal about its request instead."""
    store = world.runtime.store
    await world.grant(100)
    await world.faults("drop")
    job_id = await world.submit()
    job = await world.until_state(job_id, "submitted")
    assert job.submission is not None
    message = Delivery(
        job_id=job_id,
        attempt=1,
        request_id=job.submission.request_id,
        user_id="us",
        body=b"no words of fal's",
        stale=False,
    )
    await store.record_delivery(message, grace_s=LONG_S)
    await handle(world.runtime.services, message.entry_id)
    assert (await store.delivery(message.entry_id)).parked
    services = replace(
        world.runtime.services, policy=replace(world.runtime.services.policy, keep_parked_s=0)
    )
    before = await rows(store, "inbox")

    assert counts(await turn(world.runtime.services, store)) == (0, 0, 0), "not before its time"
    assert counts(await turn(services, store)) == (0, 1, 0)
    assert counts(await turn(services, store)) == (0, 0, 0)

    assert await changed(store, before, "inbox") == {message.entry_id: {"body"}}
    assert await store.redrive_delivery(message.entry_id)
    await until_fal_is_done(world)
    await handle(world.runtime.services, message.entry_id)
    assert (await store.delivery(message.entry_id)).outcome == "rendered"
    await sweep_until(world, job_id, "ready")


async def test_a_job_that_waits_for_a_person_is_spoken_of_and_left_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    store = world.runtime.store
    job = await job_in(store, JobState.SUBMITTED)
    await store.park(job, "odd")
    await store.database.write("UPDATE video_job SET updated_at -= 200d")
    before = await bench.row(store, job.id)

    kept = await turn(world.runtime.services, store)

    assert kept.longest_parked_s is not None
    assert kept.longest_parked_s >= 200 * DAY_S
    [line] = [each for each in caplog.records if each.name == retention.__name__]
    assert line.levelno == logging.WARNING
    assert await bench.row(store, job.id) == before
