"""Errors in deliveries and results: which end a job, which say nothing, and what each costs."""

import json
from typing import Any, Final

import pytest

from tests.faults.steps import sweep_until
from tests.web.deliveries import Signer, deliver, silent_job
from tests.world import World

STRUCTURED: Final = {
    "detail": [{"loc": ["body", "prompt"], "msg": "no", "type": "content_policy_violation"}]
}
PLAIN: Final = {"detail": "Not today"}
CODED: Final = {"detail": "Runner gone", "error_type": "runner_disconnected"}

# What a delivery with status ERROR says, and whether that alone is the model's last word.
FINAL: Final = [(code, STRUCTURED) for code in (400, 413, 422)]
NOT_FINAL: Final = [
    *((code, STRUCTURED) for code in (401, 404, 408, 429, 500, 503)),
    (422, PLAIN),
    (400, CODED),
    (503, CODED),
    (422, None),
    (None, STRUCTURED),
    (422, {"detail": []}),
    (422, [STRUCTURED]),
]


def error(job_message: bytes, code: int | None, payload: Any) -> bytes:
    text = "Something broke" if code is None else f"Invalid status code: {code}"
    told = {**json.loads(job_message), "status": "ERROR", "error": text, "payload": payload}
    return json.dumps(told, sort_keys=True).encode()


def named(case: Any) -> str:
    return str(case) if isinstance(case, int | None) else json.dumps(case)[:30]


async def told(world: World, code: int | None, payload: Any) -> str:
    """A job that fal has rendered, and that gets this error all the same; its id."""
    await world.grant(100)
    job = await silent_job(world)
    body = error(job.message(), code, payload)
    headers = Signer().headers(body, request_id=job.request_id)
    assert (await deliver(world, job.job_id, body, headers)).status_code == 200
    return job.job_id


@pytest.mark.parametrize(("code", "payload"), FINAL, ids=named)
async def test_a_structured_client_error_is_the_models_last_word(
    world: World, code: int, payload: Any
) -> None:
    """F24: the job ends at once, its credits return, and the video is paid for once at fal."""
    job_id = await told(world, code, payload)

    failed = await world.until(job_id, "completed", "failed")

    assert (failed["status"], failed["error"]["code"]) == ("failed", "content_policy")
    assert await world.money() == (100, 0, 0)
    counts = await world.counts()
    assert (counts["submits"], counts["accepted"], counts["statuses"]) == (1, 1, 0)
    report = await world.audit()
    assert (report.violations, report.written_off) == ([], 40), "fal may bill it all the same"


@pytest.mark.parametrize(("code", "payload"), NOT_FINAL, ids=named)
async def test_any_other_error_makes_us_ask_fal_and_refunds_nothing(
    world: World, code: int | None, payload: Any
) -> None:
    """F24: infrastructure's words are not about the video, and it is delivered."""
    job_id = await told(world, code, payload)

    done = await world.until(job_id, "completed", "failed")

    assert done["status"] == "completed"
    assert await world.money() == (60, 0, 40)
    counts = await world.counts()
    assert (counts["submits"], counts["statuses"]) == (1, 1)
    assert (await world.audit()).violations == []


@pytest.mark.parametrize("status", [500, 504])
async def test_a_request_that_really_broke_is_made_anew_at_fals_cost(
    world: World, status: int
) -> None:
    """F24: fal bills no 5xx; its result says the same as its delivery, so another is made."""
    await world.grant(100)
    await world.faults(f"error={status}")
    job_id = await world.submit()
    await world.until_state(job_id, "reserved")
    assert await world.money() == (60, 40, 0)

    await sweep_until(world, job_id, "ready")

    job = await world.runtime.store.job(job_id)
    assert job.submit_attempts == 2
    assert len(job.past_requests) == 1
    assert (await world.counts())["submits"] == 2
    assert await world.money() == (60, 0, 40)
    report = await world.audit()
    assert (report.violations, report.written_off) == ([], 0)
