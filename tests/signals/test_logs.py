"""Log lines: one per delivery and per finalisation, with what a person needs, and no secrets."""

import logging
from typing import Any

import pytest

from service.logs import AT_MOST, PERIOD_S, Bounded
from tests.signals.test_metrics import silent_job_of
from tests.web.deliveries import Signer, deliver
from tests.world import OWNER, World


def lines(caplog: pytest.LogCaptureFixture, begin: str) -> list[dict[str, Any]]:
    """Our own lines that begin so: their message and facts."""
    return [
        {"message": each.getMessage(), "level": each.levelname} | each.__dict__
        for each in caplog.records
        if each.name.startswith("service.") and each.getMessage().startswith(begin)
    ]


async def test_a_delivery_and_its_finalisation_are_one_line_each(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    job = await silent_job_of(world)
    body = job.message()
    caplog.clear()
    good = Signer().headers(body, request_id=job.request_id)
    assert (await deliver(world, job.job_id, body, good)).status_code == 200
    await world.until_state(job.job_id, "ready")
    await world.quiet()
    assert (await deliver(world, job.job_id, body, good)).status_code == 200

    first, again = lines(caplog, "delivery")
    assert (first["message"], again["message"]) == ("delivery handled", "delivery repeated")
    for each in (first, again):
        assert each["job_id"] == job.job_id
        assert each["request_id"] == job.request_id
        assert each["bytes"] == len(body)
        assert each["stale"] is False
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert (first["outcome"], first["attempts"]) == ("rendered", 1)
    assert first["seconds"] >= 0
    assert first["entry_id"] == again["entry_id"]

    (final,) = lines(caplog, "finali")
    row = await world.runtime.store.job(job.job_id)
    assert final["message"] == "finalised"
    assert (final["job_id"], final["outcome"], final["attempt"]) == (job.job_id, "settled", 1)
    assert (final["bytes"], final["sha256"]) == (row.object_size, row.object_sha256)
    assert final["reused"] is False
    for phase in ("lease", "copy", "settle"):
        assert 0 <= final[f"{phase}_seconds"] <= final["seconds"]
    assert final["since_submission_seconds"] >= final["seconds"]
    assert final["owner"] in str(row.object_key)


async def test_a_delivery_that_is_parked_is_one_line_with_its_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    job = await silent_job_of(world)
    caplog.clear()
    body = b"{ not JSON"
    await deliver(world, job.job_id, body, Signer().headers(body, request_id=job.request_id))
    await world.quiet()
    (line,) = lines(caplog, "delivery")
    assert (line["message"], line["level"]) == ("delivery parked", "ERROR")
    assert (line["job_id"], line["outcome"]) == (job.job_id, "parked")
    assert line["reason"]


async def test_a_finalisation_that_fails_is_one_line_with_its_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.grant(100)
    await world.faults("html")
    job_id = await world.submit()
    await world.until_state(job_id, "rendered")
    await world.quiet()
    (line,) = [each for each in lines(caplog, "finali") if each["job_id"] == job_id]
    assert (line["message"], line["level"]) == ("finalisation put off", "WARNING")
    assert (line["outcome"], line["attempt"]) == ("put_off", 1)
    assert "NotAVideo" in line["reason"]


async def test_no_line_of_ours_names_the_owner_or_carries_a_token(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole journey, and a refusal: what is secret or somebody's address stays out."""
    job = await silent_job_of(world)
    body = job.message()
    good = Signer().headers(body, request_id=job.request_id)
    await deliver(world, job.job_id, body, good)
    await deliver(world, job.job_id, body, good | {"x-fal-webhook-signature": "00" * 64})
    await world.until_state(job.job_id, "ready")
    ours = [each for each in caplog.records if each.name.startswith("service.")]
    assert len(ours) >= 4
    said = "\n".join(
        f"{each.getMessage()} {sorted(each.__dict__.items(), key=str)}" for each in ours
    )
    for secret in (
        OWNER,
        "X-Amz-Signature",
        good["x-fal-webhook-signature"],
        world.sandbox.fal_key,
    ):
        assert secret not in said


def test_a_flood_of_refusals_is_a_few_lines() -> None:
    """F25: what anybody can bring about is said a few times in a while, and how often beyond."""
    now = 0.0
    bounded = Bounded(clock=lambda: now)

    def said(message: str, times: int) -> list[logging.LogRecord]:
        records = [logging.makeLogRecord({"msg": message}) for _ in range(times)]
        return [each for each in records if bounded.filter(each)]

    assert len(said("delivery refused", 500)) == AT_MOST
    assert len(said("delivery handled", 500)) == 500
    now += PERIOD_S
    (first,) = said("delivery refused", 1)
    assert first.__dict__["left_out"] == 500 - AT_MOST
    (second,) = said("delivery refused", 1)
    assert "left_out" not in second.__dict__
