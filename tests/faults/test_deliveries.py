"""What deliveries may be (late, repeated, stale, slow to store) and what must come of them."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from service.adapters.fal_signature import FRESH_FOR_S
from service.adapters.queries import load_queries
from service.adapters.surreal_connection import Connection
from service.flows.reconcile import sweep_once
from service.sandbox.webhooks import RetrySchedule
from tests.faults.steps import outcomes, sweep_now
from tests.web.deliveries import Signer, Silent, deliver, inbox, silent_job
from tests.world import World, eventually

# What fal's pages say, older and newer, and the short window of results that are not small.
WINDOWS = {
    "31 retries within the hour": RetrySchedule(),
    "six minutes": RetrySchedule(window_s=360.0),
    "10 retries within two hours": RetrySchedule(
        retries=10, window_s=7200.0, first_pause_s=30.0, growth=2.0, longest_pause_s=1800.0
    ),
}


def retried_at(schedule: RetrySchedule) -> Iterator[float]:
    """When fal tries again, in seconds after the first attempt."""
    at = 0.0
    for pause, _ in schedule.attempts():
        at += pause
        if at > schedule.window_s:
            return
        yield at


def set_clock(world: World, monkeypatch: pytest.MonkeyPatch, off_by_s: float) -> None:
    """Our clock, as far as the service looks at one, is that much ahead."""
    verifier = world.runtime.services.verifier
    monkeypatch.setattr(verifier, "_clock", lambda: time.time() + off_by_s)


async def swept(world: World) -> Silent:
    """A job whose webhook did not come, and that the reconciler has finished."""
    await world.grant(100)
    job = await silent_job(world)
    await sweep_now(world, job.job_id)
    await world.until_state(job.job_id, "ready")
    return job


async def facts(world: World, job_id: str) -> dict[str, Any]:
    """Everything that must not change once a job has ended."""
    view = await world.status(job_id)
    ledger = await world.runtime.store.database.read("SELECT * FROM ledger ORDER BY id")
    counts = await world.counts()
    fixed = {name: counts[name] for name in ("submits", "files")}
    kept = {name: value for name, value in view.items() if name != "url"}  # signed anew each time
    return {**kept, **fixed, "ledger": ledger, "money": await world.money()}


@pytest.mark.parametrize("schedule", WINDOWS.values(), ids=WINDOWS.keys())
@pytest.mark.parametrize("signed_anew", [True, False], ids=["signed anew", "signed once"])
async def test_fals_retries_after_the_sweep_was_done_change_nothing(
    world: World, schedule: RetrySchedule, *, signed_anew: bool
) -> None:
    """F18: each of fal's tries comes when everything is over, whichever way fal signs them."""
    job = await swept(world)
    before, calls = await facts(world, job.job_id), await world.counts()
    body = job.message()
    tries = list(retried_at(schedule))
    for at_s in tries:
        age_s = 0 if signed_anew else at_s
        headers = Signer().headers(body, request_id=job.request_id, age_s=age_s)
        assert (await deliver(world, job.job_id, body, headers)).status_code == 200
    await world.quiet()
    await sweep_once(world.runtime.services)

    stale = not signed_anew and tries[-1] > FRESH_FOR_S
    assert len(await inbox(world, job.job_id)) == (2 if stale else 1)
    after = await world.counts()
    assert after["statuses"] - calls["statuses"] == stale, "the stale copies are one hint"
    assert await facts(world, job.job_id) == before
    assert (await world.audit()).violations == []


async def test_a_captured_delivery_sent_again_is_a_repeat_and_later_only_a_hint(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F27: within five minutes it is known; after them it is stale, and fal is asked once."""
    await world.grant(100)
    job = await silent_job(world)
    body = job.message()
    captured = Signer().headers(body, request_id=job.request_id)
    assert not (await deliver(world, job.job_id, body, captured)).json()["repeated"]
    await world.until_state(job.job_id, "ready")
    before, calls = await facts(world, job.job_id), await world.counts()

    assert (await deliver(world, job.job_id, body, captured)).json()["repeated"]
    await world.quiet()
    assert (await world.counts())["statuses"] == calls["statuses"]

    set_clock(world, monkeypatch, FRESH_FOR_S + 60)
    for _ in range(5):
        assert (await deliver(world, job.job_id, body, captured)).status_code == 200
    await world.quiet()
    assert sorted(await outcomes(world)) == ["rendered", "repeat"]
    assert (await world.counts())["statuses"] == calls["statuses"] + 1
    assert await facts(world, job.job_id) == before


@pytest.mark.parametrize("off_by_s", [600, -600], ids=["ahead", "behind"])
async def test_a_wrong_clock_of_ours_loses_no_video_and_asks_fal_once(
    world: World, monkeypatch: pytest.MonkeyPatch, off_by_s: int
) -> None:
    """F28: the delivery is authentic, noted as stale, and fal's own result decides."""
    set_clock(world, monkeypatch, off_by_s)
    await world.grant(100)
    job_id = await world.submit()

    await world.until(job_id, "completed")
    await world.quiet()

    counts = await world.counts()
    assert (counts["deliveries"], counts["statuses"], counts["results"]) == (1, 1, 1)
    assert [row["stale"] for row in await inbox(world)] == [True]
    assert await world.money() == (60, 0, 40)


@pytest.mark.parametrize("refused", ["CREATE", "UPDATE"], ids=["the entry", "its handling"])
async def test_a_delivery_and_what_it_moves_are_written_together_or_not_at_all(
    world: World, refused: str
) -> None:
    """F38: the entry is the work; what fails in the middle leaves both to be done again."""
    await world.grant(100)
    job = await silent_job(world)
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    database = world.runtime.store.database
    # The database itself refuses one statement: the insert, or the second one of a verdict.
    handled = " AND $after.handled_at != NONE" if refused == "UPDATE" else ""
    await database.write(
        f"DEFINE EVENT broken ON inbox WHEN $event = '{refused}'{handled}"
        " THEN { THROW 'refused by a test' }"
    )
    try:
        answer = await deliver(world, job.job_id, body, headers)
        await world.quiet()
    finally:
        await database.write("REMOVE EVENT broken ON inbox")
    assert (await world.runtime.store.job(job.job_id)).state.value == "submitted"
    if refused == "CREATE":
        assert answer.status_code >= 500, "fal will send it again"
        assert await inbox(world) == []
        assert (await deliver(world, job.job_id, body, headers)).status_code == 200
    else:
        assert answer.status_code == 200
        assert [row["handled_at"] for row in await inbox(world) if row.get("handled_at")] == []
        await database.write("UPDATE inbox SET due = time::now()")
        await sweep_once(world.runtime.services)

    await world.until_state(job.job_id, "ready")
    assert await outcomes(world) == ["rendered"]
    assert (await world.audit()).violations == []


async def test_an_acknowledgement_waits_for_one_commit_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F40: with 200 ms of latency in the database fal waits that long once, not for the work."""
    await world.grant(100)
    job = await silent_job(world)
    nudged: list[str] = []
    monkeypatch.setattr(world.runtime.nudges, "delivery", nudged.append)
    statements: list[str] = []
    real = Connection.call

    async def slow(self: Any, statement: str, *args: Any, **named: Any) -> list[Any]:
        statements.append(statement)
        await _later(0.2)
        return await real(self, statement, *args, **named)

    before = await world.counts()
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "call", slow)
        answer = await deliver(world, job.job_id, body, headers)

    assert answer.status_code == 200
    assert statements == [load_queries()["record_deliveries"]]
    assert 0.2 <= answer.elapsed.total_seconds() < 5, "fal's patience is 15 s"
    assert await world.counts() == before, "nobody else was asked"
    assert len(nudged) == 1, "the work is left to the worker"
    await world.runtime.store.database.write("UPDATE inbox SET due = time::now()")
    await sweep_once(world.runtime.services)
    await world.until_state(job.job_id, "ready")


async def _later(seconds: float) -> None:
    """Return once that much time has passed: latency is what this stands for."""
    until = time.monotonic() + seconds

    async def look() -> bool | None:
        return True if time.monotonic() >= until else None

    await eventually(look)
