"""What fal says, in every order and form, and what it does to a job and its credits."""

from dataclasses import replace
from unittest.mock import ANY

import pytest

from service.flows.reconcile import sweep_once
from tests.faults.steps import outcomes, redeliver, sweep_until, until_fal_is_done
from tests.world import World, eventually


async def test_a_lost_webhook_costs_two_fal_calls(world: World) -> None:
    """F43: one status, one result."""
    await world.grant(100)
    await world.faults("drop")
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    await until_fal_is_done(world)

    await world.runtime.store.make_due(job_id)
    await sweep_once(world.runtime.services)
    await world.until(job_id, "completed")

    counts = await world.counts()
    assert (counts["submits"], counts["statuses"], counts["results"]) == (1, 1, 1)
    assert (await world.audit()).violations == []


@pytest.mark.parametrize("fault", ["null_payload", "error_null", "error_then_ok", "ok_then_error"])
async def test_a_good_video_behind_confusing_words_is_delivered(world: World, fault: str) -> None:
    """F20, F22, F23: fal's own result decides, not the first message."""
    await world.grant(100)
    await world.faults(fault)
    job_id = await world.submit()

    done = await world.until(job_id, "completed", "failed")

    assert done["status"] == "completed", done
    assert await world.money() == (60, 0, 40)
    assert (await world.audit()).violations == []


async def test_a_refused_prompt_fails_with_a_reason_and_returns_the_credits(world: World) -> None:
    """F24: a structured 4xx is the model's last word."""
    await world.grant(100)
    await world.faults("refuse")
    job_id = await world.submit()

    failed = await world.until(job_id, "failed")

    assert failed["error"] == {
        "code": "content_policy",
        "message": "The provider refused this prompt: content policy. "
        "Your 40 credits were returned.",
    }
    assert await world.money() == (100, 0, 0)
    assert (await world.audit()).violations == []


async def test_an_infrastructure_error_is_tried_again_and_succeeds(world: World) -> None:
    """F24: 5xx says nothing about the video; the request has ended, so another one is made."""
    await world.grant(100)
    await world.faults("error=500", times=1)
    job_id = await world.submit()
    await world.until_state(job_id, "reserved")

    await sweep_until(world, job_id, "ready")

    assert (await world.runtime.store.job(job_id)).submit_attempts == 2
    assert (await world.counts())["submits"] == 2
    assert (await world.audit()).violations == []


async def test_a_provider_that_keeps_breaking_ends_the_job_and_returns_the_credits(
    world: World,
) -> None:
    await world.grant(100)
    await world.faults("error=500", times=10)
    job_id = await world.submit()

    await sweep_until(world, job_id, "failed")

    assert (await world.status(job_id))["error"]["code"] == "provider_failed"
    assert (await world.counts())["submits"] == 3
    assert await world.money() == (100, 0, 0)
    assert (await world.audit()).violations == []


async def test_success_without_a_video_keeps_the_reservation_for_a_person(world: World) -> None:
    """F23: fal says OK, its result has no address: parked, not refunded, not charged."""
    await world.grant(100)
    await world.faults("no_url")
    job_id = await world.submit()

    async def parked() -> bool | None:
        await world.runtime.store.make_due(job_id)
        await sweep_once(world.runtime.services)
        await world.quiet()
        return True if (await world.runtime.store.job(job_id)).parked else None

    await eventually(parked)
    assert await world.money() == (60, 40, 0)
    assert (await world.audit()).violations == []


@pytest.mark.parametrize("fault", ["wrong_key", "other_account", "tamper"])
async def test_a_delivery_that_proves_nothing_is_refused_and_the_sweep_finishes_the_job(
    world: World, fault: str
) -> None:
    """F25, F26: 401, no row, and the video is not lost for it."""
    await world.grant(100)
    await world.faults(fault)
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    await until_fal_is_done(world)

    await sweep_until(world, job_id, "ready")

    rows = await world.runtime.store.database.read("SELECT VALUE id FROM inbox")
    assert rows == []
    assert (await world.audit()).violations == []


async def test_a_stale_delivery_is_a_hint_that_asks_fal_once(world: World) -> None:
    """F28: our clock or the delivery is off; its words are not used."""
    await world.grant(100)
    await world.faults("stale")
    job_id = await world.submit()

    await world.until(job_id, "completed")

    counts = await world.counts()
    assert (counts["statuses"], counts["results"]) == (1, 1)
    stale = await world.runtime.store.database.read("SELECT VALUE stale FROM inbox")
    assert stale == [True]


async def test_fifty_copies_of_one_delivery_make_one_row_and_one_finalisation(
    world: World,
) -> None:
    """F16, F17: at once, and again when everything is over."""
    await world.grant(100)
    await world.faults("duplicate=50")
    job_id = await world.submit()
    await world.until(job_id, "completed")
    await world.quiet()  # its thumbnail too
    before = await world.runtime.store.job(job_id)
    (request,) = await world.requests()
    assert set(await redeliver(world, request["request_id"], times=100)) == {200}
    await world.quiet()

    assert await outcomes(world) == ["rendered"]
    assert await world.runtime.store.job(job_id) == replace(before, read_at=ANY)
    assert (await world.counts())["files"] == 1
    assert (await world.audit()).violations == []
