"""Deliveries over HTTP: stored before they are acknowledged, once; forged ones leave no trace."""

import asyncio
import json

import pytest

from service.domain.job import JobState
from tests.web.deliveries import (
    Signer,
    deliver,
    entries,
    inbox,
    silent_job,
    webhook_path,
    webhook_token,
)
from tests.web.forms import check_problem, fresh_email
from tests.web.webhooks import database_away, on_shared, rendered, state
from tests.world import OWNER, World


@on_shared
async def test_a_delivery_is_stored_raw_and_finishes_its_job(shared: World) -> None:
    job = await rendered(shared)
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    answer = await deliver(shared, job.job_id, body, headers)
    assert (answer.status_code, answer.json()) == (200, {"recorded": True, "repeated": False})
    await shared.until_state(job.job_id, "ready")
    (row,) = await inbox(shared, job.job_id)
    assert bytes(row["body"]) == body
    assert (row["request_id"], row["user_id"], row["stale"]) == (
        job.request_id,
        "sandbox-1234",
        False,
    )
    assert (row["outcome"], row["parked"], row["due"]) == ("rendered", False, None)


@on_shared
@pytest.mark.parametrize("slash", ["", "/"], ids=["no slash", "slash"])
async def test_both_slash_forms_answer_without_a_redirect(shared: World, slash: str) -> None:
    body = b"{}"
    path = webhook_path("v-nobody") + slash
    answer = await deliver(shared, "v-nobody", body, Signer().headers(body), path=path)
    assert (answer.status_code, answer.history) == (200, [])
    forged = await shared.http.post(path, content=body)
    check_problem(forged, 401, "not_authentic")


async def test_fifty_copies_at_once_are_one_inbox_row_and_one_finalisation(world: World) -> None:
    """F16, F17: at once, and once more when the job is done."""
    await world.grant(100)
    job = await silent_job(world)
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    answers = await asyncio.gather(*(deliver(world, job.job_id, body, headers) for _ in range(50)))
    assert {each.status_code for each in answers} == {200}
    assert sum(not each.json()["repeated"] for each in answers) == 1
    done = await world.until_state(job.job_id, "ready")
    again = await deliver(world, job.job_id, body, headers)
    assert again.json() == {"recorded": True, "repeated": True}
    await world.quiet()
    assert len(await inbox(world, job.job_id)) == 1
    assert (done.finalise_attempts, done.fence) == (1, 1)
    balance = await world.runtime.store.balance(OWNER)
    assert (balance.available, balance.reserved, balance.captured) == (60, 0, 40)
    assert (await world.counts())["files"] == 1
    assert (await world.audit()).violations == []


async def test_a_replay_after_the_end_changes_nothing(world: World) -> None:
    """F17: signed anew, as fal does."""
    await world.grant(100)
    job_id = await world.submit()
    await world.until(job_id, "completed")
    before = await world.status(job_id)
    (request,) = await world.requests()
    url = f"{world.sandbox.fal_url}/sandbox/redeliver/{request['request_id']}"
    answer = await world.http.post(url, params={"times": "10"})
    assert set(answer.json()["statuses"]) == {200}
    await world.quiet()
    after = await world.status(job_id)
    assert (after["version"], after["updatedAt"]) == (before["version"], before["updatedAt"])
    assert len(await inbox(world, job_id)) == 1
    assert (await world.audit()).violations == []


# ---------------------------------------------------------------------------------- forgeries


def forged(headers: dict[str, str], **changes: str | None) -> dict[str, str]:
    named = {f"x-fal-webhook-{name.replace('_', '-')}": value for name, value in changes.items()}
    return {name: value for name, value in (headers | named).items() if value is not None}


@on_shared
@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None},
        {"signature": "00" * 64},
        {"signature": "00" * 32},
        {"timestamp": None},
        {"timestamp": "1" + "0" * 400},
        {"timestamp": "-1"},
        {"timestamp": "NaN"},
        {"timestamp": "1,2"},
        {"request_id": None},
        {"request_id": "another"},
        {"user_id": None},
        {"user_id": "sandbox|another-account"},
        {"user_id": "x" * 5000},
    ],
    ids=repr,
)
async def test_a_forged_header_is_401_and_leaves_no_row(
    shared: World, changes: dict[str, str | None]
) -> None:
    """F25, F29: missing, short, of another key, absurd."""
    body = json.dumps({"status": "OK", "n": repr(changes)}).encode()
    before = await entries(shared)
    answer = await deliver(shared, "v-any", body, forged(Signer().headers(body), **changes))
    check_problem(answer, 401, "not_authentic")
    assert await entries(shared) == before


@on_shared
async def test_a_tampered_body_is_401_and_leaves_no_row(shared: World) -> None:
    """F25: one byte more, one fewer, other spaces."""
    job = await rendered(shared)
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    for changed in (body + b" ", body[:-1], body.replace(b", ", b","), b"", b"\0" * 1000):
        check_problem(await deliver(shared, job.job_id, changed, headers), 401, "not_authentic")
    assert await inbox(shared, job.job_id) == []
    assert await state(shared, job.job_id) is JobState.SUBMITTED


@on_shared
async def test_another_accounts_valid_signature_is_401_and_leaves_no_row(shared: World) -> None:
    """F26: fal signs for every customer; ours is pinned."""
    job = await rendered(shared)
    other, body = Signer(user_id="sandbox|another-account"), job.message()
    headers = other.headers(body, request_id=job.request_id)
    check_problem(await deliver(shared, job.job_id, body, headers), 401, "not_authentic")
    assert await inbox(shared, job.job_id) == []


@on_shared
@pytest.mark.parametrize("values", [("good", "bad"), ("bad", "good"), ("good", "good")])
@pytest.mark.parametrize("name", ["signature", "timestamp", "user-id", "request-id"])
async def test_a_doubled_header_never_lets_in_what_was_not_signed(
    shared: World, name: str, values: tuple[str, str]
) -> None:
    """Whichever of the two is read, what is stored is what was signed."""
    body = json.dumps([name, values, fresh_email()]).encode()
    headers = Signer().headers(body, request_id="signed-one")
    bad = {
        "signature": "11" * 64,
        "timestamp": "1",
        "user-id": "sandbox|another-account",
        "request-id": "not-signed",
    }[name]
    doubled = [(key, value) for key, value in headers.items() if not key.endswith(f"-{name}")]
    good = headers[f"x-fal-webhook-{name}"]
    doubled += [(f"x-fal-webhook-{name}", good if each == "good" else bad) for each in values]
    answer = await shared.http.post(webhook_path("v-doubled"), content=body, headers=doubled)
    assert answer.status_code in {200, 401}
    stored = [row for row in await inbox(shared) if bytes(row["body"]) == body]
    assert len(stored) == (answer.status_code == 200)
    assert {row["request_id"] for row in stored} <= {"signed-one"}
    assert {row["user_id"] for row in stored} <= {"sandbox-1234"}


@on_shared
@pytest.mark.parametrize(
    "token",
    [
        "x",
        "v-any",
        "v-any.",
        "v-any." + "A" * 43,
        "v-other." + webhook_token("v-any").partition(".")[2],
        webhook_token("v-any", 1).replace(".1.", ".2."),
        webhook_token("v-any", key="another key of the same length as ours"),
        webhook_token("v-any") + "A",
        webhook_token("v-any")[:-1],
        webhook_token("v-any") + "%0A",
        "%00",
        "%C3%A9",
        "a" * 4000,
    ],
)
async def test_a_bad_token_is_401_whatever_the_signature_says(shared: World, token: str) -> None:
    body, before = b'{"status": "OK"}', await entries(shared)
    path = f"/api/fal/webhook/{token}"
    answer = await deliver(shared, "", body, Signer().headers(body), path=path)
    check_problem(answer, 401, "not_authentic")
    assert await entries(shared) == before


@on_shared
async def test_a_token_never_reaches_the_log(
    shared: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="service")
    job = await rendered(shared)
    body = job.message()
    mac = webhook_path(job.job_id).rpartition(".")[2]
    async with database_away(shared):
        headers = Signer().headers(body, request_id=job.request_id)
        assert (await deliver(shared, job.job_id, body, headers)).status_code == 503
    ours = [each for each in caplog.records if each.name.startswith("service.")]
    assert any(each.getMessage() == "request failed" for each in ours)
    assert not [each for each in ours if mac in repr(each.__dict__)]
