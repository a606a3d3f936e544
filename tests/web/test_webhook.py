"""Deliveries over HTTP: stored before they are acknowledged, once; forged ones leave no trace."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from nacl.signing import SigningKey

from service.adapters.rows import inbox_record, job_record
from service.adapters.surreal import DatabaseSettings, _Connection
from service.commands.local import free_port
from service.domain.job import JobState
from service.domain.policy import MAX_DELIVERY_ATTEMPTS
from service.flows.receive import handle
from service.flows.reconcile import sweep_once
from service.sandbox.object_store import ObjectStore
from tests.web.conftest import KNOWN_KEY
from tests.web.deliveries import (
    SILENT,
    Signer,
    Silent,
    deliver,
    entries,
    inbox,
    make_due,
    silent_job,
    webhook_path,
    webhook_token,
)
from tests.web.forms import check_problem, fresh_email
from tests.world import OWNER, World, eventually, open_world

on_shared = pytest.mark.asyncio(loop_scope="package")


async def rendered(world: World) -> Silent:
    """A silent job of a fresh account."""
    email = fresh_email()
    await world.grant(100, email)
    return await silent_job(world, email)


async def due_now(world: World, job_id: str) -> bool:
    found = await world.runtime.store.database.read(
        "SELECT VALUE due <= time::now() FROM ONLY $job", job=job_record(job_id)
    )
    return bool(found)


async def state(world: World, job_id: str) -> JobState:
    return (await world.runtime.store.job(job_id)).state


async def finish_by_sweep(world: World, job_id: str) -> None:
    """The job ends in a video, charged once, without another word from a webhook."""
    await world.quiet()
    await make_due(world, job_id)
    await sweep_once(world.runtime.services)
    await world.until_state(job_id, "ready")


@asynccontextmanager
async def database_away(world: World) -> AsyncIterator[None]:
    """While the body runs, the database is at an address where nobody listens."""
    database = world.runtime.store.database
    nowhere = DatabaseSettings(
        url=f"ws://127.0.0.1:{free_port()}", namespace="n", database="d", username="u"
    )
    real, database._connections = database._connections, [_Connection(nowhere)]
    try:
        yield
    finally:
        database._connections = real


# -------------------------------------------------------------------------------- the good one


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
    body = json.dumps({"status": "OK", "n": repr(changes)}).encode()
    before = await entries(shared)
    answer = await deliver(shared, "v-any", body, forged(Signer().headers(body), **changes))
    check_problem(answer, 401, "not_authentic")
    assert await entries(shared) == before


@on_shared
async def test_a_tampered_body_is_401_and_leaves_no_row(shared: World) -> None:
    job = await rendered(shared)
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    for changed in (body + b" ", body[:-1], body.replace(b", ", b","), b"", b"\0" * 1000):
        check_problem(await deliver(shared, job.job_id, changed, headers), 401, "not_authentic")
    assert await inbox(shared, job.job_id) == []
    assert await state(shared, job.job_id) is JobState.SUBMITTED


@on_shared
async def test_another_accounts_valid_signature_is_401_and_leaves_no_row(shared: World) -> None:
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


# ------------------------------------------------------------------------------- another's token


@on_shared
async def test_a_delivery_about_another_request_belongs_to_the_tokens_job(shared: World) -> None:
    """A's address, B's signed words: A's row. The first video at A's address is A's, the next is
    surplus; B's own delivery is B's as ever. Only fal can sign either, and both are ours.
    """
    ours, other = await rendered(shared), await rendered(shared)
    body = other.message()
    headers = Signer().headers(body, request_id=other.request_id)
    assert (await deliver(shared, ours.job_id, body, headers)).status_code == 200
    done = await shared.until_state(ours.job_id, "ready")
    assert done.submission.request_id == other.request_id
    assert await inbox(shared, other.job_id) == []
    assert await state(shared, other.job_id) is JobState.SUBMITTED

    late = ours.message()
    second = Signer().headers(late, request_id=ours.request_id)
    assert (await deliver(shared, ours.job_id, late, second)).status_code == 200
    await shared.quiet()
    rows = {row["request_id"]: row["outcome"] for row in await inbox(shared, ours.job_id)}
    assert rows == {other.request_id: "rendered", ours.request_id: "surplus"}

    assert (await deliver(shared, other.job_id, body, headers)).json()["repeated"] is False
    await shared.until_state(other.job_id, "ready")
    for job in (ours, other):
        balance = await shared.runtime.store.balance(
            (await shared.runtime.store.job(job.job_id)).owner
        )
        assert (balance.available, balance.reserved, balance.captured) == (60, 0, 40)


@on_shared
async def test_a_job_whose_request_is_unknown_adopts_the_request_that_comes_to_its_address(
    shared: World,
) -> None:
    """The answer to the POST was lost: the token is the proof that the request is this job's."""
    email = fresh_email()
    await shared.grant(100, email)
    job_id = await shared.submit(email=email, brand="#sandbox:submit_drop,late=600 x")
    await shared.until_state(job_id, "submit_unknown")

    async def own() -> str | None:
        found = [each for each in await shared.requests() if job_id in str(each["webhook_url"])]
        done = found and found[0]["state"] == "COMPLETED"
        return str(found[0]["request_id"]) if done else None

    request_id = await eventually(own)
    message = {"status": "OK", "request_id": request_id, "payload": None}
    body = json.dumps(message).encode()
    headers = Signer().headers(body, request_id=request_id)
    assert (await deliver(shared, job_id, body, headers)).status_code == 200
    job = await shared.until_state(job_id, "ready")
    assert job.submission is not None
    assert job.submission.request_id == request_id


@on_shared
async def test_a_body_about_another_request_than_its_header_is_not_believed(
    shared: World,
) -> None:
    job = await rendered(shared)
    body = job.message(request_id="another", payload={"video": {"url": "https://evil.example"}})
    headers = Signer().headers(body, request_id=job.request_id)
    statuses = (await shared.counts())["statuses"]
    assert (await deliver(shared, job.job_id, body, headers)).status_code == 200
    done = await shared.until_state(job.job_id, "ready")
    assert done.source_url == job.url, "fal was asked instead"
    assert (await shared.counts())["statuses"] == statuses + 1


# ---------------------------------------------------------------------------------------- size


@on_shared
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
async def test_a_body_over_the_limit_is_413_and_its_job_is_looked_at_now(
    shared: World,
    announced: bool,  # noqa: FBT001
) -> None:
    job = await rendered(shared)
    limit = shared.settings.max_webhook_bytes
    size = limit + 1
    headers = Signer().headers(b"", request_id=job.request_id)

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, size, 64 * 1024):
            yield b"x" * min(64 * 1024, size - at)

    assert not await due_now(shared, job.job_id)
    content: Any = b"x" * size if announced else chunks()
    answer = await deliver(shared, job.job_id, content, headers)
    check_problem(answer, 413, "too_large")
    assert await inbox(shared, job.job_id) == []
    assert await due_now(shared, job.job_id)
    await sweep_once(shared.runtime.services)
    await shared.until_state(job.job_id, "ready")


@on_shared
async def test_a_body_of_exactly_the_limit_is_stored(shared: World) -> None:
    job = await rendered(shared)
    body = job.message().ljust(shared.settings.max_webhook_bytes)
    headers = Signer().headers(body, request_id=job.request_id)
    assert (await deliver(shared, job.job_id, body, headers)).status_code == 200
    await shared.until_state(job.job_id, "ready")


@on_shared
async def test_a_body_over_the_limit_at_a_bad_address_is_401(shared: World) -> None:
    body = b"x" * (shared.settings.max_webhook_bytes + 1)
    answer = await deliver(shared, "", body, {}, path="/api/fal/webhook/v-any.bad")
    check_problem(answer, 401, "not_authentic")


# --------------------------------------------------------------------------------------- stale


async def test_a_stale_delivery_is_kept_as_a_hint_and_fal_is_asked_once(world: World) -> None:
    await world.grant(100)
    job = await silent_job(world)
    await world.http.post(f"{world.sandbox.fal_url}/sandbox/jwks", json={"fault": None})
    before = await world.counts()
    lie = job.message(payload={"video": {"url": "https://evil.example/old.mp4"}})
    headers = Signer().headers(lie, request_id=job.request_id, age_s=600)
    for _ in range(3):
        assert (await deliver(world, job.job_id, lie, headers)).status_code == 200
    done = await world.until_state(job.job_id, "ready")
    assert done.source_url == job.url
    counts = await world.counts()
    assert counts["statuses"] - before["statuses"] == 1
    assert counts["results"] - before["results"] == 1
    (row,) = await inbox(world, job.job_id)
    assert row["stale"] is True
    assert bytes(row["body"]) == lie


@on_shared
async def test_a_stale_copy_does_not_keep_the_fresh_one_out(shared: World) -> None:
    job = await rendered(shared)
    body = job.message()
    for age_s in (600, 0):
        headers = Signer().headers(body, request_id=job.request_id, age_s=age_s)
        answer = await deliver(shared, job.job_id, body, headers)
        assert answer.json() == {"recorded": True, "repeated": False}
    assert len(await inbox(shared, job.job_id)) == 2
    await shared.until_state(job.job_id, "ready")
    await shared.quiet()


# -------------------------------------------------------------------------------------- poison

POISON = {
    "nothing": b"",
    "no UTF-8": b'{"status": "OK", "x": "\xff\xfe"}',
    "UTF-16": '{"status": "OK"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"status": "OK"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep under OK": b'{"status": "OK", "payload": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a huge whole number": b'{"status": "OK", "seed": ' + b"9" * 10_000 + b"}",
    "a list": b'["OK"]',
    "a word": b'"OK"',
    "null": b"null",
    "half": b'{"status": "OK"',
    "two": b'{"status": "OK"}{"status": "OK"}',
    "an unknown status": b'{"status": "MAYBE"}',
    "a list for a status": b'{"status": ["OK"]}',
    "no status": b'{"payload": {"video": {"url": "https://evil.example"}}}',
    "the last of two statuses": b'{"status": "OK", "status": "BAD"}',
}


@on_shared
@pytest.mark.parametrize("body", POISON.values(), ids=POISON.keys())
async def test_poison_is_kept_and_parked_with_a_reason_and_the_job_finishes_anyway(
    shared: World, body: bytes
) -> None:
    job = await rendered(shared)
    headers = Signer().headers(body, request_id=job.request_id)
    answer = await deliver(shared, job.job_id, body, headers)
    assert (answer.status_code, answer.json()["recorded"]) == (200, True)
    await shared.quiet()
    (row,) = await inbox(shared, job.job_id)
    assert (row["parked"], row["due"], bytes(row["body"])) == (True, None, body)
    assert row["outcome"]
    assert await due_now(shared, job.job_id), "fal is asked about it at once instead"
    await sweep_once(shared.runtime.services)
    await shared.until_state(job.job_id, "ready")


ODD = {
    "a payload that is a list": {"payload": []},
    "a payload that is a number": {"payload": 5},
    "a video that is text": {"payload": {"video": "x"}},
    "an address that is a number": {"payload": {"video": {"url": 5}}},
    "an empty address": {"payload": {"video": {"url": ""}}},
    "no payload, with a reason": {"payload": None, "payload_error": "not serializable"},
    "an error of fal's own": {"status": "ERROR", "error": "Invalid status code: 404"},
    "an error that is an object": {"status": "ERROR", "error": {"a": 1}},
    "an error without words": {"status": "ERROR", "error": None, "payload": None},
    "a 422 without structure": {"status": "ERROR", "error": "422", "payload": {"detail": "x"}},
    "a request id that is a number": {"request_id": 5},
}


@on_shared
@pytest.mark.parametrize("told", ODD.values(), ids=ODD.keys())
async def test_an_odd_message_about_a_good_video_never_loses_it(
    shared: World, told: dict[str, Any]
) -> None:
    job = await rendered(shared)
    body = job.message(**told)
    headers = Signer().headers(body, request_id=job.request_id)
    assert (await deliver(shared, job.job_id, body, headers)).status_code == 200
    done = await shared.until_state(job.job_id, "ready")
    assert done.source_url == job.url


@on_shared
async def test_an_address_that_cannot_be_stored_parks_the_entry_in_the_end_and_loses_nothing(
    shared: World,
) -> None:
    job = await rendered(shared)
    message = {"status": "OK", "payload": {"video": {"url": "\ud800"}}}
    body = json.dumps(message).encode()
    headers = Signer().headers(body, request_id=job.request_id)
    assert (await deliver(shared, job.job_id, body, headers)).status_code == 200
    await finish_by_sweep(shared, job.job_id)
    (row,) = await inbox(shared, job.job_id)
    entry = str(row["id"].id)
    for _ in range(MAX_DELIVERY_ATTEMPTS + 1):
        try:
            await handle(shared.runtime.services, entry)
        except Exception:  # noqa: BLE001 - what the worker catches and logs
            continue
    rows = await shared.runtime.store.database.read(
        "SELECT * FROM $entry", entry=inbox_record(entry)
    )
    assert rows[0].get("due") is None, "handled or parked, but not tried for ever"


@on_shared
async def test_a_delivery_for_a_job_that_this_database_lacks_is_kept_and_parked(
    shared: World,
) -> None:
    body = b'{"status": "OK"}'
    answer = await deliver(shared, "v-lost", body, Signer().headers(body))
    assert answer.status_code == 200
    await shared.quiet()
    (row,) = await inbox(shared, "v-lost")
    assert (row["parked"], row["outcome"]) == (True, "there is no such job in this database")


# ------------------------------------------------------------------------------------ our fault


async def test_with_the_database_away_a_delivery_is_503_and_accepted_when_it_is_back(
    world: World,
) -> None:
    await world.grant(100)
    job = await silent_job(world)
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    large = b"x" * (world.settings.max_webhook_bytes + 1)
    async with database_away(world):
        answer = await deliver(world, job.job_id, body, headers)
        check_problem(answer, 503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        check_problem(
            await deliver(world, job.job_id, large, headers), 503, "temporarily_unavailable"
        )
        ready = await world.http.get("/health/ready")
        assert check_problem(ready, 503, "not_ready")["checks"]["database"] != "ok"
        assert (await world.http.get("/health/live")).status_code == 200
        status = await world.http.get(
            "/api/templates/video/status",
            params={"jobId": job.job_id},
            headers=world.headers(),
        )
        check_problem(status, 503, "temporarily_unavailable")
    assert (await deliver(world, job.job_id, body, headers)).status_code == 200
    await world.until_state(job.job_id, "ready")


async def test_with_the_key_set_away_a_cold_cache_is_503_and_a_warm_one_accepts(
    world: World,
) -> None:
    await world.grant(100)
    job = await silent_job(world)
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    control = f"{world.sandbox.fal_url}/sandbox/jwks"
    await world.http.post(control, json={"fault": "down"})
    answer = await deliver(world, job.job_id, body, headers)
    check_problem(answer, 503, "temporarily_unavailable")
    assert await inbox(world) == []
    ready = await world.http.get("/health/ready")
    checks = check_problem(ready, 503, "not_ready")["checks"]
    assert checks == {"database": "ok", "keySet": "the key set cannot be fetched", "inbox": "ok"}

    await world.http.post(control, json={"fault": None})
    world.runtime.fal_keys._tried_at = float("-inf")  # as if the pause between tries were over
    assert (await world.http.get("/health/ready")).status_code == 200
    await world.http.post(control, json={"fault": "down"})
    assert (await deliver(world, job.job_id, body, headers)).status_code == 200
    await world.until_state(job.job_id, "ready")


async def test_a_rotated_key_is_accepted_in_the_same_request(world: World) -> None:
    await world.grant(100)
    first = await world.submit()
    await world.until(first, "completed")
    await world.http.post(f"{world.sandbox.fal_url}/sandbox/rotate-keys")
    second = await world.submit()
    await world.until(second, "completed")
    deliveries = [each for one in await world.requests() for each in one["deliveries"]]
    assert [each["status"] for each in deliveries] == [200, 200]
    assert (await world.counts())["jwks"] == 2


async def test_a_flood_of_forgeries_costs_two_key_set_fetches_and_nobody_waits_for_it(
    world: World,
) -> None:
    await world.grant(100)
    job = await silent_job(world)
    forger = Signer(SigningKey.generate())

    async def forge(number: int) -> int:
        body = json.dumps({"status": "OK", "n": number}).encode()
        return (await deliver(world, job.job_id, body, forger.headers(body))).status_code

    answers = await asyncio.gather(*(forge(each) for each in range(200)))
    assert set(answers) == {401}
    assert (await world.counts())["jwks"] <= 2
    assert await inbox(world) == []
    body = job.message()
    good = await deliver(world, job.job_id, body, Signer().headers(body, request_id=job.request_id))
    assert good.status_code == 200


async def test_without_a_pinned_account_any_account_of_fals_passes(s3: ObjectStore) -> None:
    """Why FAL_USER_ID should be set: what then still stands is the token."""
    async with open_world(s3, sandbox=KNOWN_KEY, FAL_USER_ID="") as world:
        await world.grant(100)
        job_id = await world.submit(brand=SILENT)
        other, body = Signer(user_id="github|stranger"), b'{"status": "OK"}'
        assert (await deliver(world, job_id, body, other.headers(body))).status_code == 200
        path = "/api/fal/webhook/v-any.x"
        answer = await deliver(world, "", body, other.headers(body), path=path)
        check_problem(answer, 401, "not_authentic")


async def test_a_first_try_that_fal_gave_up_on_is_repeated_by_fal_and_recorded_once(
    s3: ObjectStore,
) -> None:
    """The schedule of fal's retries, compressed: our 503 first, 200 later, one row."""
    quick = replace(KNOWN_KEY, time_scale=0.01)
    async with open_world(s3, sandbox=quick) as world:
        await world.grant(100)
        await world.http.post(f"{world.sandbox.fal_url}/sandbox/jwks", json={"fault": "down"})
        job_id = await world.submit()

        async def tried() -> bool | None:
            (request,) = await world.requests() or [{"deliveries": []}]
            return any(each["status"] == 503 for each in request["deliveries"]) or None

        await eventually(tried)
        await world.http.post(f"{world.sandbox.fal_url}/sandbox/jwks", json={"fault": None})
        world.runtime.fal_keys._tried_at = float("-inf")
        await world.until(job_id, "completed")
        assert len(await inbox(world, job_id)) == 1


@on_shared
async def test_a_caller_who_hangs_up_in_the_middle_of_a_delivery_leaves_no_row_and_no_alarm(
    shared: World, caplog: pytest.LogCaptureFixture
) -> None:
    url: httpx.URL = shared.http.base_url
    head = f"POST {webhook_path('v-hung')} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(head.encode() + b"{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    for _ in range(3):
        assert (await shared.http.get("/health/live")).status_code == 200
    assert await inbox(shared, "v-hung") == []
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []
