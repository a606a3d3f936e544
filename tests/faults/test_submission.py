"""What fal and the network do to the one POST of an attempt, and what must then be true."""

import asyncio
from dataclasses import replace

import pytest

from service.adapters import fal
from service.adapters.rows import job_record
from service.domain.errors import ServiceError
from service.domain.policy import LOOKUPS_TO_PROVE_ABSENCE
from service.domain.providers import PROVIDERS
from service.flows.accept import Order, StartImage, _plan
from service.flows.reconcile import sweep_once
from tests.faults.steps import accepted, redeliver, sweep_until, until_fal_is_done
from tests.world import OWNER, World, png


@pytest.mark.parametrize("fault", ["submit_drop", "submit_502", "submit_slow=600"])
async def test_an_answer_lost_after_acceptance_is_adopted_by_the_signed_delivery(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """F3, F4, F5: fal accepted, we do not know it, and nobody posts a second time."""
    if fault.startswith("submit_slow"):
        monkeypatch.setattr(fal, "SUBMIT_DEADLINE_S", 0.5)
    await world.grant(100)
    await world.faults(f"{fault},late=600")
    job_id = await world.submit()
    await world.until_state(job_id, "submit_unknown")
    await until_fal_is_done(world)
    for _ in range(2):
        await sweep_once(world.runtime.services)
    assert (await world.counts())["submits"] == 1, "nothing is due, and nobody is hasty"

    (request,) = await world.requests()
    assert await redeliver(world, request["request_id"]) == [200]
    await world.until(job_id, "completed")

    assert (await world.counts())["submits"] == 1
    assert await world.money() == (60, 0, 40)
    assert (await world.audit()).violations == []


async def test_an_unknown_submission_is_found_in_fals_listing_when_the_webhook_is_lost_too(
    world: World,
) -> None:
    """F3, F43: no answer and no webhook; only fal's own list knows the request."""
    await world.grant(100)
    await world.faults("submit_drop,drop")
    job_id = await world.submit()
    await world.until_state(job_id, "submit_unknown")

    await sweep_until(world, job_id, "ready")

    counts = await world.counts()
    assert counts["submits"] == 1
    assert counts["listings"] >= 1
    assert (await world.audit()).violations == []


async def never_sent(world: World) -> str:
    """A reserved job; nothing is accepted at fal until the fault is lifted."""
    await world.grant(100)
    await world.faults("submit_429=1000")
    job_id = await world.submit()
    await world.until_state(job_id, "reserved")
    await world.quiet()
    return job_id


async def test_a_submission_that_never_reached_fal_is_made_again_only_after_proof(
    world: World,
) -> None:
    """The outcome is unknown, and fal's listing shows several times that there is nothing."""
    store = world.runtime.store
    job_id = await never_sent(world)
    job = await store.begin_submission(job_id, grace_s=60, max_at_fal=100)
    assert job is not None
    assert await store.submission_unknown(job_id, job.submit_attempts, "died", grace_s=60)
    before = (await world.counts())["submits"]
    await world.http.post(
        f"{world.sandbox.fal_url}/sandbox/faults", json={"faults": "", "times": 0}
    )

    for _ in range(LOOKUPS_TO_PROVE_ABSENCE):
        assert (await world.counts())["submits"] == before, "no POST before the proof"
        await store.make_due(job_id)
        await sweep_once(world.runtime.services)

    assert (await store.job(job_id)).state.value == "reserved"
    assert (await world.counts())["listings"] == LOOKUPS_TO_PROVE_ABSENCE


async def test_a_submitter_that_died_is_looked_after_in_the_sweep_that_notices(
    world: World,
) -> None:
    """F4: its POST has ended by then, so fal's listing is looked at without another wait."""
    store = world.runtime.store
    job_id = await never_sent(world)
    assert await store.begin_submission(job_id, grace_s=0, max_at_fal=100)
    before = (await world.counts())["submits"]

    for looks in range(1, LOOKUPS_TO_PROVE_ABSENCE + 1):  # each is due as soon as it would count
        assert (await world.counts())["submits"] == before, "no POST before the proof"
        await sweep_once(world.runtime.services)
        assert (await world.counts())["listings"] == looks

    assert (await store.job(job_id)).state.value == "reserved"


async def test_fal_that_is_busy_is_asked_again_and_the_user_never_notices(world: World) -> None:
    """F6: 429 is definitely not accepted: back off and repeat."""
    await world.grant(100)
    await world.faults("submit_429=3")
    job_id = await world.submit()

    await sweep_until(world, job_id, "ready")

    counts = await world.counts()
    assert (counts["submits"], counts["accepted"]) == (4, 1)
    assert (await world.runtime.store.job(job_id)).submit_attempts == 4
    assert (await world.audit()).violations == []


async def test_an_input_fal_refuses_at_once_fails_and_releases(world: World) -> None:
    """F7: 422 at submit."""
    await world.grant(100)
    await world.faults("submit_422")
    job_id = await world.submit()

    failed = await world.until(job_id, "failed")

    assert failed["error"]["code"]
    assert "40 credits were returned" in failed["error"]["message"]
    assert await world.money() == (100, 0, 0)
    assert (await world.audit()).violations == []


async def test_a_submitter_that_died_before_its_post_is_replaced(world: World) -> None:
    """F2: the row says reserved and is due; the sweep submits it, once."""
    await world.grant(100)
    plan = _plan(
        world.runtime.services,
        Order(
            email=OWNER,
            template_slug="night-life-roller",
            variables={"BRAND": "Acme"},
            image=StartImage(data=png(), content_type="image/png", extension="png"),
        ),
        await world.runtime.store.template("night-life-roller"),
    )
    await world.runtime.services.bucket.put_image(plan.start_image_key, png(), "image/png")
    await world.runtime.store.reserve(plan, max_in_flight=5, grace_s=0)

    await sweep_until(world, plan.id, "ready")

    assert (await world.counts())["submits"] == 1
    assert (await world.audit()).violations == []


async def test_a_submitter_that_died_with_its_post_under_way_is_never_repeated_blindly(
    world: World,
) -> None:
    """F9: attempt recorded, outcome not; fal has it, and its delivery carries our id."""
    await world.grant(100)
    await world.faults("drop")
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    await world.runtime.store.database.write(
        "UPDATE $job SET state = 'submitting', fal_request_id = NONE, fal_status_url = NONE,"
        " fal_response_url = NONE, fal_cancel_url = NONE",
        job=job_record(job_id),
    )

    await sweep_until(world, job_id, "ready")

    assert (await world.counts())["submits"] == 1
    assert (await world.audit()).violations == []


async def test_one_credit_buys_one_of_ten_parallel_submissions(world: World) -> None:
    """F11: one 202, the rest 402, one request at fal."""
    await world.grant(40)

    answers = await asyncio.gather(*(world.post(brand=f"B{n}") for n in range(10)))

    assert sorted(each.status_code for each in answers) == [202] + [402] * 9
    accepted = next(each.json()["jobId"] for each in answers if each.status_code == 202)
    await world.until(accepted, "completed")
    assert (await world.counts())["submits"] == 1
    assert await world.money() == (0, 0, 40)


async def test_a_price_that_changes_while_rendering_does_not_change_the_capture(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F13: the capture is what was reserved, whatever the price list says by then."""
    job_id = await accepted(world, "drop")
    dearer = replace(PROVIDERS["seedance"], credits_per_s=10)
    monkeypatch.setitem(PROVIDERS, "seedance", dearer)
    with pytest.raises(ServiceError, match="credits"):
        await world.runtime.store.database.write("UPDATE video_job SET credits = 50")
    await world.grant(50, "other@example.com")
    await world.submit(email="other@example.com")
    assert await world.money("other@example.com") == (0, 50, 0), "new orders pay the new price"

    await sweep_until(world, job_id, "ready")

    assert await world.money() == (60, 0, 40)


async def test_a_webhook_that_overtakes_the_submissions_answer_is_adopted(world: World) -> None:
    """F15: the delivery comes before the answer to the POST it is about."""
    await world.grant(100)
    await world.faults("early,submit_slow=1")
    job_id = await world.submit()

    await world.until(job_id, "completed")
    await world.quiet()

    job = await world.runtime.store.job(job_id)
    assert job.submission is not None
    assert job.submission.status_url, "the late answer still filled in the addresses"
    assert (await world.audit()).violations == []
