"""Webhooks: their bytes, their signatures, the retry schedule, and each way they go wrong."""

import json
import time
from base64 import urlsafe_b64decode
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from nacl.signing import SigningKey

from service.sandbox.settings import SandboxSettings
from service.sandbox.signing import KeyRing, signature
from service.sandbox.webhooks import RetrySchedule, encoded
from tests.sandbox.conftest import StartUser
from tests.sandbox.fal_user import KLING, FalUser, told, verifies

pytestmark = pytest.mark.asyncio(loop_scope="session")

ID = "764cabcf-b745-4b3e-ae38-1200304cf45b"
SIGNATURE = (
    "84a9f24d1e24d8d97735573c761ef0a0bbc71668bc9dcef7b06f83fc1c3558ea"
    "aac388db56d96d514945059f3fb23b2a441fc3db2db3061a97b8ecd239a6b407"
)


async def test_the_signature_equals_the_known_vector() -> None:
    message: dict[str, object] = {
        "status": "OK",
        "request_id": ID,
        "gateway_request_id": ID,
        "error": None,
        "payload": {"video": {"url": "https://v3b.fal.media/files/b/x/out.mp4"}},
    }
    seed = bytes(range(32))

    body = encoded(message)

    assert len(body) == 221
    assert signature(SigningKey(seed), ID, "github|1234", 1767225600, body=body) == SIGNATURE
    assert KeyRing(seed).jwks() == {
        "keys": [
            {"kty": "OKP", "crv": "Ed25519", "x": "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}
        ]
    }
    with pytest.raises(ValueError, match="padding"):
        urlsafe_b64decode("A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg")


async def test_a_webhook_has_fals_bytes_headers_and_signature(user: FalUser) -> None:
    handle = await user.accepted()

    [webhook] = await user.inbox.webhooks()

    assert webhook.path == "/hook?job=1"
    assert webhook.headers["x-fal-webhook-request-id"] == handle["request_id"]
    assert len(webhook.headers["x-fal-webhook-signature"]) == 128
    assert await user.signed(webhook)
    body = told(webhook)
    assert webhook.body == json.dumps(body, sort_keys=True).encode()
    assert (body["status"], body["error"], body["request_id"]) == ("OK", None, handle["request_id"])
    assert body["payload"] == (await user.http.get(handle["response_url"])).json()


@pytest.mark.parametrize("answer", [404, 500, 429])
async def test_other_answers_than_2xx_and_3xx_are_retried_until_taken(
    user: FalUser, answer: int
) -> None:
    user.inbox.answers += [answer, answer]
    await user.accepted()

    deliveries = await user.delivered(3)

    assert [each["status"] for each in deliveries] == [answer, answer, 200]
    assert [each["attempt"] for each in deliveries] == [1, 2, 3]
    pauses = [_seconds(late) - _seconds(early) for early, late in pairwise(deliveries)]
    assert pauses[0] >= 0.25  # 5 s in this sandbox's time
    assert pauses[1] >= 0.375


async def test_each_retry_is_signed_afresh(start_user: StartUser) -> None:
    user = await start_user(SandboxSettings(frame_size=(64, 48), fps=6, time_scale=0.25))
    user.inbox.answers += [500]
    await user.accepted()

    first, second = await user.inbox.webhooks(2)

    stamps = [int(each.headers["x-fal-webhook-timestamp"]) for each in (first, second)]
    assert stamps[1] > stamps[0]
    assert first.body == second.body
    assert await user.signed(second)


async def test_a_receiver_that_says_nothing_is_given_up_on_and_tried_again(user: FalUser) -> None:
    user.inbox.answers += [None]
    await user.accepted()

    deliveries = await user.delivered(2)

    assert [each["status"] for each in deliveries] == [None, 200]
    assert deliveries[0]["error"] == "TimeoutError"


async def test_a_redirect_ends_the_delivery_for_good(start_user: StartUser) -> None:
    user = await start_user(SandboxSettings(frame_size=(64, 48), fps=6, time_scale=0.001))
    user.inbox.answers += [308]
    await user.accepted()
    await user.delivered(1)

    taken = await user.accepted(endpoint=KLING, duration="5")
    await user.delivered(2)

    first, second = await user.requests()
    assert [each["status"] for each in first["deliveries"]] == [308]
    assert second["request_id"] == taken["request_id"]
    assert [received.path for received in user.inbox.posted] == ["/hook?job=1"] * 2


async def test_the_schedule_is_fals_31_retries_within_the_hour() -> None:
    schedule = list(RetrySchedule().attempts())

    assert len(schedule) == 1 + 31
    assert schedule[0] == (0, 15)
    assert {limit for _, limit in schedule[1:]} == {120}
    pauses = [pause for pause, _ in schedule]
    assert pauses == sorted(pauses)
    assert sum(pauses) < 3600


async def test_no_attempt_begins_after_the_window(start_user: StartUser) -> None:
    """The window is 0.36 s here, a silent attempt takes 2 s: the ERROR gets just one."""
    user = await start_user(SandboxSettings(frame_size=(64, 48), fps=6, time_scale=0.0001))
    user.inbox.answers += [None]
    await user.accepted("error_then_ok")

    deliveries = await user.delivered(2)

    assert [each["status"] for each in deliveries] == [None, 200]
    assert [told(each)["status"] for each in user.inbox.posted] == ["ERROR", "OK"]


async def test_a_webhook_that_is_never_taken_is_given_up(start_user: StartUser) -> None:
    user = await start_user(SandboxSettings(frame_size=(64, 48), fps=6, time_scale=0.0001))
    user.inbox.refusing = b'"ERROR"'
    await user.accepted("error_then_ok")

    await user.inbox.until(lambda: any(b'"OK"' in each.body for each in user.inbox.posted))

    refused = [each for each in user.inbox.posted if b'"ERROR"' in each.body]
    assert 1 <= len(refused) <= 32


async def test_a_dropped_webhook_can_be_sent_later_and_again(user: FalUser) -> None:
    handle = await user.accepted("drop,delay=0.3")
    early = await user.http.post(f"/sandbox/redeliver/{handle['request_id']}")
    assert early.status_code == 409
    await user.completed(handle)

    sent = await user.control(f"redeliver/{handle['request_id']}?times=3")

    assert sent == {"statuses": [200, 200, 200]}
    assert all([await user.signed(webhook) for webhook in user.inbox.posted])
    assert (await user.http.post("/sandbox/redeliver/unknown")).status_code == 404


async def test_duplicates_arrive_as_often_as_asked(user: FalUser) -> None:
    await user.accepted("duplicate=5")

    webhooks = await user.inbox.webhooks(5)

    assert len({webhook.body for webhook in webhooks}) == 1


async def test_an_early_webhook_is_there_before_the_answer(user: FalUser) -> None:
    handle = await user.accepted("early")

    assert [told(each)["request_id"] for each in user.inbox.posted] == [handle["request_id"]]


async def test_a_late_webhook_comes_after_completion(user: FalUser) -> None:
    handle = await user.accepted("late=0.4")
    await user.completed(handle)
    assert user.inbox.posted == []

    await user.inbox.webhooks()


@pytest.mark.parametrize("fault", ["wrong_key", "tamper", "other_account"])
async def test_a_forged_webhook_does_not_pass_the_check(user: FalUser, fault: str) -> None:
    await user.accepted(fault)

    [webhook] = await user.inbox.webhooks()

    assert not await user.signed(webhook)
    json.loads(webhook.body)


async def test_another_accounts_webhook_is_signed_validly(user: FalUser) -> None:
    await user.accepted("other_account")

    [webhook] = await user.inbox.webhooks()

    [key] = (await user.http.get(user.sandbox.jwks_url)).json()["keys"]
    assert verifies(webhook, key["x"])
    assert webhook.headers["x-fal-webhook-user-id"] != user.sandbox.user_id


async def test_a_stale_webhook_is_signed_validly_ten_minutes_ago(user: FalUser) -> None:
    await user.accepted("stale")

    [webhook] = await user.inbox.webhooks()

    age = time.time() - int(webhook.headers["x-fal-webhook-timestamp"])
    assert 595 < age < 660
    assert await user.signed(webhook)


async def test_a_redirecting_proxy_loses_the_webhook(user: FalUser) -> None:
    await user.accepted("redirected")

    [delivery] = await user.delivered(1)

    assert delivery["status"] == 308
    assert user.inbox.posted == []


@pytest.mark.parametrize(
    ("fault", "status", "error", "has_payload"),
    [
        ("refuse", "ERROR", "Invalid status code: 422", True),
        ("error", "ERROR", "Internal server error", False),
        ("error=504", "ERROR", "The request timed out", False),
        ("null_payload", "OK", None, False),
        ("error_null", "ERROR", "Invalid status code: 404", False),
        ("no_url", "OK", None, True),
    ],
)
async def test_each_verdict_has_its_webhook(
    user: FalUser, fault: str, status: str, error: str | None, *, has_payload: bool
) -> None:
    await user.accepted(fault)

    [webhook] = await user.inbox.webhooks()

    body = told(webhook)
    assert (body["status"], body["error"]) == (status, error)
    assert (body["payload"] is not None) == has_payload
    assert ("payload_error" in body) == (fault in {"null_payload", "error_null"})
    assert ("error_type" in body) == fault.startswith("error") - (fault == "error_null")


@pytest.mark.parametrize(
    ("fault", "status", "error_type"),
    [
        ("refuse", 422, "content_policy_violation"),
        ("error", 500, "internal_error"),
        ("error=503", 503, "runner_scheduling_failure"),
        ("null_payload", 200, None),
        ("error_null", 200, None),
        ("error_then_ok", 200, None),
        ("ok_then_error", 200, None),
    ],
)
async def test_each_verdict_has_its_result(
    user: FalUser, fault: str, status: int, error_type: str | None
) -> None:
    handle = await user.accepted(fault)

    done = await user.completed(handle)

    answer = await user.http.get(handle["response_url"])
    assert answer.status_code == status
    assert done.get("error_type") == error_type
    if status == 200:
        assert answer.json()["video"]["url"]
    elif status == 422:
        [entry] = answer.json()["detail"]
        assert (entry["loc"], entry["type"]) == (["body", "prompt"], error_type)
    else:
        assert answer.json()["error_type"] == error_type == answer.headers["x-fal-error-type"]


async def test_a_video_without_url_is_without_it_everywhere(user: FalUser) -> None:
    video = await user.video("no_url")

    assert "url" not in video
    assert video["file_size"] > 0


@pytest.mark.parametrize(
    ("fault", "order"), [("error_then_ok", ["ERROR", "OK"]), ("ok_then_error", ["OK", "ERROR"])]
)
async def test_contradicting_webhooks_come_in_the_order_asked(
    user: FalUser, fault: str, order: list[str]
) -> None:
    await user.accepted(fault)

    assert [told(each)["status"] for each in await user.inbox.webhooks(2)] == order


@pytest.mark.parametrize("keep_old", [False, True])
async def test_rotated_keys_sign_at_once(user: FalUser, *, keep_old: bool) -> None:
    await user.accepted()
    await user.inbox.webhooks()
    await user.control(f"rotate-keys?keep_old={int(keep_old)}")
    await user.accepted()

    old, new = await user.inbox.webhooks(2)

    assert await user.signed(new)
    assert await user.signed(old) == keep_old


@pytest.mark.parametrize(
    ("fault", "keys", "kty"), [("empty", 0, set()), ("wrong_kty", 1, {"RSA"}), ("huge", 1, {"OKP"})]
)
async def test_a_broken_key_set(user: FalUser, fault: str, keys: int, kty: set[str]) -> None:
    await user.control("rotate-keys")
    await user.control("jwks", {"fault": fault})

    answer = await user.http.get(user.sandbox.jwks_url)

    found = answer.json()["keys"]
    assert (len(found), {key["kty"] for key in found}) == (keys, kty)
    assert (len(answer.content) > 1_000_000) == (fault == "huge")


async def test_a_key_set_that_is_down_and_one_that_never_answers(user: FalUser) -> None:
    await user.control("jwks", {"fault": "down"})
    assert (await user.http.get(user.sandbox.jwks_url)).status_code == 503

    await user.control("jwks", {"fault": "slow"})
    with pytest.raises(TimeoutError):
        await user.impatient(user.sandbox.jwks_url)

    await user.control("jwks", {"fault": None})
    assert (await user.http.get(user.sandbox.jwks_url)).status_code == 200
    unknown = await user.http.post("/sandbox/jwks", json={"fault": "odd"})
    assert unknown.status_code == 400


def _seconds(delivery: dict[str, Any]) -> float:
    return datetime.fromisoformat(delivery["at"]).timestamp()
