"""Cancelling: the reservation waits for fal's verdict, and the owner's choice is kept."""

import asyncio
from dataclasses import replace

import pytest

from service.domain.errors import TooLate
from service.domain.job import IfFinished, JobState
from service.domain.verdict import Rendered
from service.flows.cancel import cancel, stop
from service.flows.conclude import Source, conclude
from service.flows.reconcile import move_on, sweep_once
from service.flows.submit import send
from service.ports import CancelAnswer
from service.worker import Nudges
from tests.faults.steps import accepted, sweep_until
from tests.world import OWNER, World, eventually

KEEP, DISCARD = IfFinished.KEEP, IfFinished.DISCARD


async def ask(world: World, job_id: str, if_finished: str | None = None) -> int:
    body = {"jobId": job_id} | ({"ifFinished": if_finished} if if_finished else {})
    answer = await world.http.post(
        "/api/templates/video/cancel", json=body, headers=world.headers(OWNER)
    )
    return answer.status_code


@pytest.mark.parametrize("where", ["queue=600", "delay=600"])
async def test_a_render_that_fal_stops_is_cancelled_and_its_credits_return(
    world: World, where: str
) -> None:
    """Queued at fal or running there; until fal has said so, the reservation stays."""
    await world.grant(100)
    await world.faults(where)
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")

    assert await ask(world, job_id) == 202
    await world.quiet()
    assert (await world.runtime.store.job(job_id)).cancel_accepted
    assert await world.money() == (60, 40, 0) or where == "delay=600"

    await sweep_until(world, job_id, "cancelled")
    view = await world.status(job_id)
    assert (view["status"], view["error"]["code"]) == ("failed", "cancelled")
    assert "40 credits were returned" in view["error"]["message"]
    assert await ask(world, job_id) == 202, "a repeat says the same"
    assert await world.money() == (100, 0, 0)
    assert (await world.audit()).violations == []


async def test_a_sweep_leaves_a_cancel_to_whoever_was_just_nudged(world: World) -> None:
    """Two who ask fal at once: the second is told that there is no such request, and searches."""
    job_id = await accepted(world, "queue=600")
    services = world.runtime.services
    await cancel(replace(services, nudge=Nudges()), job_id, KEEP)
    assert (await sweep_once(services)).jobs == 0
    await sweep_until(world, job_id, "cancelled")
    counts = await world.counts()
    assert (counts["cancels"], counts["listings"]) == (1, 0)


async def test_a_sweep_that_began_before_fal_agreed_does_not_search_what_fal_removed(
    world: World,
) -> None:
    """Searching takes three looks, a minute, for what is known: fal has taken it from its queue."""
    job_id = await accepted(world, "queue=600")
    services = world.runtime.services
    assert await services.store.request_cancel(job_id, KEEP)
    seen = await services.store.job(job_id)
    assert await stop(services, job_id) is CancelAnswer.REQUESTED

    await move_on(services, seen, seen.read_at)

    assert (await services.store.job(job_id)).state is JobState.CANCELLED
    assert await world.money() == (100, 0, 0)
    assert (await world.counts())["listings"] == 0


async def test_a_sweep_does_not_search_for_a_request_its_job_has_left(world: World) -> None:
    """Read as submitted; by the time fal said that there is none, it waits for another attempt."""
    job_id = await accepted(world, "queue=600")
    services = world.runtime.services
    seen = await services.store.job(job_id)
    await world.http.post(f"{world.sandbox.fal_url}/sandbox/reset")
    assert await services.store.submission_void(seen, "given up", retry_in_s=600)

    assert await move_on(services, seen, seen.read_at) == "nothing"

    assert (await world.counts())["listings"] == 0
    assert (await services.store.job(job_id)).state is JobState.RESERVED


@pytest.mark.parametrize(
    ("choice", "state", "money", "written_off"),
    [(None, "ready", (60, 0, 40), 0), ("discard", "cancelled", (100, 0, 0), 40)],
)
async def test_if_fal_finishes_anyway_the_owners_choice_is_kept(
    world: World, choice: str | None, state: str, money: tuple[int, int, int], written_off: int
) -> None:
    """F69: no surprise charge; what is thrown away is counted as our cost."""
    await world.grant(100)
    await world.faults("cancel_ignored,delay=0.4")
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    assert await ask(world, job_id, choice) == 202
    assert await world.money() == (60, 40, 0), "held until the verdict"

    await world.until(job_id, "completed", "failed")

    assert (await world.runtime.store.job(job_id)).state.value == state
    assert await world.money() == money
    report = await world.audit()
    assert (report.violations, report.written_off) == ([], written_off)


async def test_a_video_that_is_made_can_no_longer_be_cancelled(world: World) -> None:
    """F68: finalising wins; the answer says so, nothing changes."""
    await world.grant(100)
    job_id = await world.submit()
    await world.until(job_id, "completed")
    assert await ask(world, job_id, "discard") == 409
    assert await world.money() == (60, 0, 40)


async def test_what_was_never_sent_is_cancelled_at_once(world: World) -> None:
    await world.grant(100)
    await world.faults("submit_429=1000", times=1000)
    job_id = await world.submit()
    await world.quiet()
    await world.until_state(job_id, "reserved")

    assert await ask(world, job_id) == 202

    assert (await world.runtime.store.job(job_id)).state is JobState.CANCELLED
    assert not await send(world.runtime.services, job_id)
    assert await world.money() == (100, 0, 0)
    assert (await world.audit()).violations == []


async def test_a_cancelled_job_whose_submission_is_unknown_is_stopped_once_it_is_found(
    world: World,
) -> None:
    """After a lost answer there is no address to cancel at until fal's listing gives it."""
    await world.grant(100)
    await world.faults("submit_drop,drop,delay=600")
    job_id = await world.submit()
    await world.until_state(job_id, "submit_unknown")
    assert await ask(world, job_id) == 202
    assert (await world.counts())["cancels"] == 0

    await sweep_until(world, job_id, "cancelled")
    assert ((await world.counts())["submits"], (await world.counts())["cancels"]) == (1, 1)
    assert await world.money() == (100, 0, 0)
    assert (await world.audit()).violations == []


async def test_a_cancelled_attempt_that_breaks_is_not_tried_again(world: World) -> None:
    await world.grant(100)
    await world.faults("error=503,cancel_ignored,late=1")
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    assert await ask(world, job_id) in {202, 409}
    await sweep_until(world, job_id, "cancelled")
    assert (await world.counts())["submits"] == 1
    assert await world.money() == (100, 0, 0)


@pytest.mark.parametrize("choice", [KEEP, DISCARD])
async def test_cancelling_and_finishing_at_once_ends_in_exactly_one_of_the_two(
    world: World, choice: IfFinished
) -> None:
    """F68: both orders, many times; one settlement each, and the audit agrees."""
    rounds = 12
    await world.grant(40 * rounds)
    jobs = [await world.submit(brand=f"B{each}") for each in range(rounds)]

    async def give_up(job_id: str) -> bool:
        try:
            await cancel(world.runtime.services, job_id, choice)
        except TooLate:
            return False
        return True

    given_up = await asyncio.gather(*(give_up(job_id) for job_id in jobs))

    async def ended() -> bool | None:
        await world.sweep()
        return True if set(await world.states()) <= {"ready", "cancelled"} else None

    await eventually(ended)
    states = [(await world.runtime.store.job(job_id)).state for job_id in jobs]
    for state, gave_up in zip(states, given_up, strict=True):
        assert state is JobState.READY or gave_up
    ready = states.count(JobState.READY)
    assert await world.money() == (40 * (rounds - ready), 0, 40 * ready)
    assert (await world.audit()).violations == []


async def test_a_choice_to_discard_holds_for_an_earlier_attempts_video_too(world: World) -> None:
    """F69: between two attempts nothing is at fal, or so we think; its video comes all the same."""
    await world.grant(100)
    await world.faults("late=600,error=503")
    job_id = await world.submit()
    job = await world.until_state(job_id, "submitted")
    await world.runtime.store.submission_void(job, "given up", retry_in_s=600)

    assert await ask(world, job_id, "discard") == 202

    assert (await world.runtime.store.job(job_id)).state is JobState.CANCELLED
    source = Source(request_id=job.submission.request_id, attempt=1)
    ended = await world.runtime.store.job(job_id)
    said = await conclude(world.runtime.services, ended, source, Rendered("http://files.test/v"))
    assert said == "late: unwanted"
    assert await world.money() == (100, 0, 0)
    report = await world.audit()
    assert (report.violations, report.written_off) == ([], 40)
