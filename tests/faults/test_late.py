"""A video for a job that had ended without one: delivered and charged once, or kept, or counted."""

from typing import Any

import pytest

from service.domain.inbox import Delivery
from service.domain.job import IfFinished, Job, JobError, JobState
from service.domain.verdict import Rendered
from service.flows.cancel import cancel
from service.flows.conclude import Source, conclude
from service.flows.receive import handle
from service.ports import Grounds
from tests.faults.steps import outcomes, redeliver, until_fal_is_done
from tests.world import OWNER, World, eventually

BY_HAND = JobError(code="given_up", message="By hand.")


async def ended(world: World, *, credits_left: int, faults: str = "late=600") -> Job:
    """A job whose video fal has made and not yet announced, closed and released meanwhile."""
    await world.grant(40)
    await world.faults(faults)
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    await until_fal_is_done(world)
    await world.runtime.store.close_unfilled(job_id, JobState.FAILED, BY_HAND, Grounds())
    assert await world.money() == (40, 0, 0)
    if spent := 40 - credits_left:
        await spend(world, spent)
    return await world.runtime.store.job(job_id)


async def spend(world: World, amount: int) -> None:
    """Take credits out of the account, as another job's capture would."""
    await world.runtime.store.database.write(
        "UPDATE account SET available -= $amount, captured += $amount", amount=amount
    )


async def deliver(world: World, times: int = 1) -> None:
    """fal announces its video, and what follows is done."""
    await redeliver(world, (await world.requests())[0]["request_id"], times)
    await world.quiet()


async def test_a_late_video_is_delivered_and_charged_if_its_owner_can_pay(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """F19: by a job of its own; the ended one keeps its state and its refund, and says so."""
    job = await ended(world, credits_left=40)

    await deliver(world)

    view = await world.until(f"{job.id}-late", "completed")
    assert (await world.http.get(view["url"])).content[4:8] == b"ftyp"
    assert await world.money() == (0, 0, 40)
    old = await world.status(job.id)
    assert (old["status"], old["error"]["code"]) == ("failed", "given_up")
    assert "in your library, for 40 credits" in old["error"]["message"]
    assert old["version"] > job.version, "its owner's client notices"
    assert await outcomes(world) == ["late: recovered"]
    assert "had ended without one" in caplog.text

    for _ in range(3):
        await deliver(world, times=5)
    assert await world.money() == (0, 0, 40)
    assert await world.states() == {"failed": 1, "ready": 1}
    assert (await world.audit()).violations == []


async def test_a_late_video_that_cannot_be_paid_is_kept_until_it_can(world: World) -> None:
    """F19: if not, parked with its raw delivery; credits and a redrive deliver it."""
    job = await ended(world, credits_left=39)
    await deliver(world)

    store = world.runtime.store
    [entry] = await store.list_deliveries(parked=True, limit=10)
    assert entry.outcome is not None
    assert "needs 40 credits" in entry.outcome
    assert (
        "until your account holds the 40 credits"
        in (await world.status(job.id))["error"]["message"]
    )
    assert await world.states() == {"failed": 1}

    await world.grant(1)
    assert await store.redrive_delivery(entry.id)
    assert not await store.redrive_delivery(entry.id), "a repeat changes nothing"
    await world.sweep()

    await world.until(f"{job.id}-late", "completed")
    assert (await store.balance(OWNER)).available == 0
    assert (await store.balance(OWNER)).captured == 1 + 40


async def test_a_late_video_that_its_owner_had_thrown_away_is_only_counted(world: World) -> None:
    """F19, F69: no video, no charge; what fal bills for it is seen in the audit."""
    await world.grant(100)
    await world.faults("late=600,delay=0.4,cancel_ignored")
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    await cancel(world.runtime.services, job_id, IfFinished.DISCARD)
    await world.quiet()
    job = await world.runtime.store.job(job_id)
    await world.runtime.store.close_unfilled(job_id, JobState.CANCELLED, BY_HAND, Grounds())
    await until_fal_is_done(world)

    await deliver(world, times=3)

    assert await world.states() == {"cancelled": 1}
    assert await outcomes(world) == ["late: unwanted"]
    report = await world.audit()
    assert (report.violations, report.written_off) == ([], job.credits)


@pytest.mark.parametrize("refusal_first", [True, False])
async def test_a_refusal_and_a_video_of_one_request_are_charged_once_in_either_order(
    world: World, *, refusal_first: bool
) -> None:
    """F20: a refusal is believed at once and refunded; a video after it is a late one."""
    await world.grant(100)
    await world.faults("late=600")
    job_id = await world.submit()
    job = await world.until_state(job_id, "submitted")
    await until_fal_is_done(world)

    async def refusal() -> None:
        await said(world, job, b'{"detail":[{"msg":"no","type":"content_policy_violation"}]}')

    if refusal_first:
        await refusal()
        assert await world.money() == (100, 0, 0)
        await deliver(world)
        await world.until(f"{job_id}-late", "completed")
        assert await world.states() == {"failed": 1, "ready": 1}
    else:
        await deliver(world)
        await refusal()
        await world.until(job_id, "completed")
        assert await world.states() == {"ready": 1}
    assert await world.money() == (60, 0, 40)
    report = await world.audit()
    assert (report.violations, report.written_off) == ([], 0), "what fal bills is paid for"


async def said(world: World, job: Job, payload: bytes) -> None:
    """A refusal about the job's request, as if it had come as a signed delivery."""
    assert job.submission is not None
    request = job.submission.request_id
    body = (
        b'{"request_id":"' + request.encode() + b'","status":"ERROR",'
        b'"error":"Invalid status code: 422","payload":' + payload + b"}"
    )
    delivery = Delivery(
        job_id=job.id, attempt=1, request_id=request, user_id="us", body=body, stale=False
    )
    await world.runtime.store.record_delivery(delivery, grace_s=60)
    await handle(world.runtime.services, delivery.entry_id)


async def test_a_second_render_of_one_job_is_counted_and_charges_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """F21: fal accepted twice, both finish; the first is the job's, the second a write-off."""
    await world.grant(100)
    await world.faults("double_accept")
    job_id = await world.submit()
    await world.until(job_id, "completed")

    async def both() -> bool | None:
        said = await outcomes(world)
        return True if len(said) == 2 and None not in said else None

    await eventually(both)
    assert sorted(await outcomes(world)) == ["rendered", "surplus"]
    assert await world.money() == (60, 0, 40)
    report = await world.audit()
    assert (report.violations, report.written_off) == ([], 40)


async def test_a_second_render_that_still_runs_is_stopped(world: World) -> None:
    """F21: the first video is there, the other request of the job is cancelled at fal."""
    await world.grant(100)
    await world.faults("delay=600")
    job_id = await world.submit()
    job: Any = await world.until_state(job_id, "submitted")
    other = Source(request_id="another-request", attempt=1)

    applied = await conclude(
        world.runtime.services, job, other, Rendered("http://files.example/v.mp4")
    )

    assert applied == "rendered"
    assert (await world.counts())["cancels"] == 1
    assert (await world.runtime.store.job(job_id)).past_requests == (job.submission.request_id,)


async def test_a_kept_late_video_whose_words_are_gone_is_asked_about(world: World) -> None:
    """F19: what is kept for a person outlives the words that told of it."""
    job, store = await ended(world, credits_left=39), world.runtime.store
    await deliver(world)
    (entry,) = await store.list_deliveries(parked=True, limit=10)
    assert await store.empty_parked(10, age_s=0) == 1
    await world.grant(1)
    assert await store.redrive_delivery(entry.id)
    await handle(world.runtime.services, entry.id)
    await world.until(f"{job.id}-late", "completed")
    assert await world.money() == (0, 0, 41)
