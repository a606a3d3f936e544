"""What is deleted is gone everywhere, whatever fails on the way; where its credits went stays."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from service.domain.errors import Transient
from service.domain.job import FINAL, IfFinished
from service.domain.policy import FORGET_ATTEMPTS, PURGE_ALARM_ATTEMPTS
from service.flows.cancel import cancel
from service.flows.delete import purge
from service.ports import Bucket
from tests.faults.deleting import (
    is_gone,
    is_orphan,
    keys,
    leave_behind,
    listed,
    made,
    remove,
    row,
    s3,
    status_code,
    sweep,
    until_purged,
)
from tests.faults.steps import (
    accepted,
    redeliver,
    rendered,
)
from tests.world import OWNER, World


async def test_a_deleted_video_is_gone_from_every_place_and_its_charge_stays(
    world: World,
) -> None:
    """F70: off the list at once; then the bucket, the inbox and fal have nothing of it."""
    job = await made(world)
    await leave_behind(world, job)
    assert len(await keys(world, job)) == 3
    assert (await listed(world, job))["json_input"] is not None
    ledger = await world.runtime.store.job_ledger(job.id)

    assert await remove(world, job.id) == 204
    assert await status_code(world, job.id) == 404
    assert (await world.http.get("/api/library", headers=world.headers())).json()["items"] == []
    await until_purged(world, job.id)

    await is_gone(world, job)
    assert (await listed(world, job))["json_input"] is None
    after = await row(world, job.id)
    assert (after["state"], after.get("payload_kept")) == ("ready", None)
    assert after["object_sha256"] == job.object_sha256
    assert await world.runtime.store.job_ledger(job.id) == ledger
    assert await world.money() == (60, 0, 40)
    for _ in range(2):
        await redeliver(world, (await world.requests())[0]["request_id"])
        await until_purged(world, job.id)
    await is_gone(world, job)


# ------------------------------------------------------------------ at each state, by account


async def reserved_one(world: World) -> str:
    await world.grant(100)
    await world.faults("submit_429=100")
    job_id = await world.submit()
    await world.quiet()
    return job_id


async def unknown_one(world: World) -> str:
    await world.grant(100)
    await world.faults("submit_drop,delay=600")
    job_id = await world.submit()
    await world.until_state(job_id, "submit_unknown")
    return job_id


async def submitted_one(world: World) -> str:
    return await accepted(world, "delay=600")


async def stubborn_one(world: World) -> str:
    return await accepted(world, "delay=0.3,cancel_ignored")


async def ready_one(world: World) -> str:
    return (await made(world)).id


async def failed_one(world: World) -> str:
    await world.grant(100)
    await world.faults("refuse")
    job_id = await world.submit()
    await world.until(job_id, "failed")
    return job_id


async def parked_one(world: World) -> str:
    job_id = await accepted(world, "delay=600")
    assert await world.runtime.store.park(await world.runtime.store.job(job_id), "odd")
    return job_id


@pytest.mark.parametrize(
    ("begin", "end", "charged"),
    [
        (reserved_one, "cancelled", 0),
        (unknown_one, "cancelled", 0),
        (submitted_one, "cancelled", 0),
        (stubborn_one, "cancelled", 0),
        (parked_one, "cancelled", 0),
        (failed_one, "failed", 0),
        (rendered, "ready", 40),
        (ready_one, "ready", 40),
    ],
)
async def test_an_account_is_closed_whatever_its_job_is_at(
    world: World, begin: Callable[[World], Awaitable[str]], end: str, charged: int
) -> None:
    """F70: no library row, the reservation settled, the objects removed, the books kept."""
    job_id = await begin(world)

    assert await world.runtime.store.close_account(OWNER)
    refused = await world.post()
    assert (refused.status_code, refused.json()["code"]) == (403, "account_closed")
    await until_purged(world, job_id)

    job = await world.runtime.store.job(job_id)
    assert job.state.value == end
    await is_gone(world, job)
    assert await world.money() == (100 - charged, 0, charged)
    settled = "capture" if charged else "release"
    kinds = {each.kind.value for each in await world.runtime.store.job_ledger(job_id)}
    assert kinds == {"reserve", settled}
    await sweep(world)
    assert (await world.runtime.store.due_removals(9)).accounts == (), "nothing is left to do"


# ------------------------------------------------------------------------------- what may go wrong


async def test_a_purge_goes_on_until_fal_answers(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """F70: fal away; the video is gone for its owner meanwhile, and the audit says what waits."""
    job = await made(world, "payloads_503=2")
    await remove(world, job.id)
    await world.quiet()
    assert await status_code(world, job.id) == 404
    report = await world.audit()
    assert (report.violations, report.purges_waiting) == ([], 1)
    await world.runtime.store.database.write(
        "UPDATE video_job SET purge_attempts = $before", before=PURGE_ALARM_ATTEMPTS - 1
    )
    await until_purged(world, job.id)
    await is_gone(world, job)
    put_off = [each for each in caplog.records if each.getMessage() == "purge put off"]
    assert [each.levelname for each in put_off] == ["WARNING", "ERROR"]
    assert (await row(world, job.id))["purge_attempts"] == PURGE_ALARM_ATTEMPTS + 1


async def test_a_key_that_may_not_delete_at_fal_ends_the_purge_and_is_noted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """F70: a bounded number of tries; it says nothing about submitting, which goes on."""
    job = await made(world, "payloads_403=99")
    await remove(world, job.id)
    await until_purged(world, job.id)
    await is_gone(world, job)
    after = await row(world, job.id)
    assert (after["payload_kept"], after["purge_attempts"]) == (
        "fal answered 403 to a deletion",
        FORGET_ATTEMPTS,
    )
    assert (await world.counts())["deletions"] == FORGET_ATTEMPTS
    assert [each for each in caplog.records if each.levelname == "ERROR"] != []
    assert await world.runtime.store.pauses() == []
    await world.until(await world.submit(), "completed")


class _Away:
    """The world's bucket, which cannot delete."""

    def __init__(self, real: Bucket) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def delete(self, key: str) -> None:
        raise Transient(f"no answer about {key}")


async def test_a_purge_that_is_stopped_half_way_is_taken_up_again(world: World) -> None:
    """F70: the bucket away; nothing is skipped for it."""
    job = await made(world)
    services = world.runtime.services
    await world.runtime.store.begin_delete(job.id)
    away = replace(services, bucket=_Away(services.bucket))
    assert not await purge(away, job.id)
    assert not await purge(services, job.id), "it is put off"
    assert await keys(world, job) != set()
    assert not await is_orphan(world, job), "it is known what this is"
    await until_purged(world, job.id)
    await is_gone(world, job)

    where = {"Bucket": world.settings.r2_bucket, "Key": job.object_key}
    await s3(world).put_object(**where, Body=b"x")
    assert await is_orphan(world, job), "who stored this again, and died?"
    await s3(world).delete_object(**where)


async def test_a_cancelled_job_is_deleted_and_an_unfinished_one_is_not(world: World) -> None:
    """F70: first the cancel, then the delete."""
    job_id = await reserved_one(world)
    assert await remove(world, job_id) == 409
    job = await cancel(world.runtime.services, job_id, IfFinished.DISCARD)
    assert job.state in FINAL
    assert await remove(world, job_id) == 204
    await until_purged(world, job_id)
    await is_gone(world, job)
