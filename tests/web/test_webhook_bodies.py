"""What a delivery may say: too much, too late, nonsense, or something about another request."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.adapters.rows import inbox_record
from service.domain.job import JobState
from service.domain.policy import MAX_DELIVERY_ATTEMPTS
from service.domain.verdict import Unreadable, Verdict
from service.flows import receive as receiving
from service.flows.receive import handle
from service.flows.reconcile import sweep_once
from tests.web.deliveries import (
    Signer,
    deliver,
    inbox,
    silent_job,
)
from tests.web.forms import check_problem, fresh_email
from tests.web.webhooks import due_now, finish_by_sweep, on_shared, rendered, state
from tests.world import World, eventually


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
    """F34: one byte over; the sweep finishes the job at once."""
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
    """F34: the limit itself is within it, and far above what fal sends."""
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
    """F27, F28: its words are not used, however often it comes."""
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
    """F35: kept to the byte, never retried for ever, and no video lost."""
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


@on_shared
async def test_a_parked_delivery_goes_on_from_its_raw_body_once_it_can_be_read(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F35: code that cannot read it keeps it; better code, and a person, finish the job with it."""
    job = await rendered(shared)
    body = job.message()

    def confused(raw: bytes, request_id: str) -> Verdict:
        raise Unreadable(f"{len(raw)} bytes about {request_id}")

    with monkeypatch.context() as patch:
        patch.setattr(receiving, "parse_delivery", confused)
        headers = Signer().headers(body, request_id=job.request_id)
        assert (await deliver(shared, job.job_id, body, headers)).status_code == 200
        await shared.quiet()
    (row,) = await inbox(shared, job.job_id)
    assert (row["parked"], bytes(row["body"])) == (True, body)
    statuses = (await shared.counts())["statuses"]

    assert await shared.runtime.store.redrive_delivery(str(row["id"].id))
    assert await handle(shared.runtime.services, str(row["id"].id))

    await shared.until_state(job.job_id, "ready")
    assert (await shared.counts())["statuses"] == statuses, "its own words were enough"
    (row,) = await inbox(shared, job.job_id)
    assert (row["outcome"], row["parked"]) == ("rendered", False)


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
    """F22, F23: fal is asked wherever its message does not say."""
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
