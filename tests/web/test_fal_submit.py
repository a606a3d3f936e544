"""A submission to fal over raw sockets: one POST, whatever happens, and where it is asked about."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from service.adapters.fal import (
    FalSettings,
    open_fal,
)
from service.commands.local import free_port
from service.domain.job import Submission
from service.domain.verdict import Pending, Unusable
from service.ports import Accepted, Declined, NotAccepted, Unknown
from tests.web.fal_answers import (
    ARGUMENTS,
    DETAIL,
    HOOK,
    MODEL,
    NGINX,
    Pair,
    answers,
    broken_gzip,
    close_politely,
    drop,
    good,
    half_an_answer,
    hang,
    no_http,
    submit,
)
from tests.web.raw_fal import KEY, Behave, raw_fal


async def test_a_submission_is_one_post_with_our_key_and_the_webhook_in_the_query_only(
    pair: Pair,
) -> None:
    raw, fal = pair
    raw.says(200, good(raw))
    outcome = await submit(fal)
    assert outcome == Accepted(
        Submission(
            request_id="r1",
            status_url=f"{raw.url}/fal-ai/kling-video/requests/r1/status",
            response_url=f"{raw.url}/fal-ai/kling-video/requests/r1",
            cancel_url=f"{raw.url}/fal-ai/kling-video/requests/r1/cancel",
        )
    )
    (heard,) = raw.heard
    target = urlsplit(heard.target)
    assert (heard.method, target.path) == ("POST", f"/{MODEL}")
    assert parse_qs(target.query) == {"fal_webhook": [HOOK]}
    assert json.loads(heard.body) == ARGUMENTS
    assert b"webhook" not in heard.body
    assert heard.headers["authorization"] == f"Key {KEY}"
    assert heard.headers["content-type"] == "application/json"


RETRYABLE = {"X-Fal-Needs-Retry": "1", "Retry-After": "0"}
SUBMITS: dict[str, tuple[Behave, type]] = {
    # as measured, row by row
    "accepts, connection dies": (drop, Unknown),
    "accepts, closes without an answer": (close_politely, Unknown),
    "accepts, answers too late": (hang, Unknown),
    "502 of nginx": (answers(502, NGINX, {"Server": "nginx"}), Unknown),
    "409": (answers(409, {"detail": "conflict"}), Unknown),
    "429": (answers(429, {"detail": "slow down"}, RETRYABLE), NotAccepted),
    "503 of fal": (answers(503, {"detail": "x"}, {"x-fal-request-id": "r1"}), Unknown),
    "500": (answers(500, {"detail": "x"}), Unknown),
    "422": (answers(422, DETAIL), Declined),
    "403 locked": (answers(403, {"detail": "User is locked."}), NotAccepted),
    # and the rest
    "401": (answers(401, {"detail": "invalid key"}), NotAccepted),
    "402": (answers(402, {"detail": "pay"}), NotAccepted),
    "400": (answers(400, {"detail": "bad"}), Declined),
    "404": (answers(404, {"detail": "Application not found"}), Declined),
    "405": (answers(405), Declined),
    "410": (answers(410), Declined),
    "408": (answers(408), Unknown),
    "499": (answers(499), Unknown),
    "504": (answers(504, NGINX), Unknown),
    "301": (answers(301, b"", {"Location": "/elsewhere"}), NotAccepted),
    "307": (answers(307, b"", {"Location": "/elsewhere"}), NotAccepted),
    "308": (answers(308, b"", {"Location": "/elsewhere"}), NotAccepted),
    "half an answer": (half_an_answer, Unknown),
    "no HTTP": (no_http, Unknown),
    "broken gzip": (broken_gzip, Unknown),
    "200 HTML": (answers(200, NGINX), Unknown),
    "200 empty": (answers(200), Unknown),
    "200 a list": (answers(200, ["r1"]), Unknown),
    "200 no id": (answers(200, {"status": "IN_QUEUE"}), Unknown),
    "200 an empty id": (answers(200, {"request_id": ""}), Unknown),
    "200 a number for an id": (answers(200, {"request_id": 5}), Unknown),
    "200 no UTF-8": (answers(200, b'{"request_id": "\xff"}'), Unknown),
    "200 too deep": (answers(200, b"[" * 100_000), Unknown),
    "200 too large": (answers(200, b" " * 5_000_000 + b'{"request_id": "r1"}'), Unknown),
    "422 too deep": (answers(422, b"[" * 100_000), Declined),
    "202": (answers(202, {"request_id": "r1"}), Accepted),
}


@pytest.mark.parametrize(("behave", "outcome"), SUBMITS.values(), ids=SUBMITS.keys())
async def test_whatever_fal_does_there_is_one_post_and_one_outcome(
    pair: Pair, behave: Behave, outcome: type
) -> None:
    raw, fal = pair
    raw.behave = behave
    found = await submit(fal)
    assert type(found) is outcome
    assert [each.method for each in raw.heard] == ["POST"]


async def test_without_a_connection_nothing_was_accepted() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = FalSettings(key=KEY, queue_url=nowhere, platform_url=nowhere)
    async with open_fal(settings) as fal:
        assert isinstance(await submit(fal), NotAccepted)


async def test_a_refusal_is_explained_and_an_end_of_a_model_has_a_code(pair: Pair) -> None:
    raw, fal = pair
    raw.says(422, DETAIL)
    outcome = await submit(fal)
    assert isinstance(outcome, Declined)
    assert outcome.error.code == "refused_by_provider"
    assert "is bad" in outcome.error.message
    raw.says(404, {"detail": "Application not found"})
    gone = await submit(fal)
    assert isinstance(gone, Declined)
    assert gone.error.code == "provider_gone"


@pytest.mark.parametrize("odd", [5, None, [], {"a": 1}, True], ids=repr)
async def test_addresses_that_are_no_text_are_not_kept(pair: Pair, odd: Any) -> None:
    """They would go to the database and back into requests; the id alone is enough."""
    raw, fal = pair
    raw.says(200, good(raw, status_url=odd, response_url=odd, cancel_url=odd))
    outcome = await submit(fal)
    assert outcome == Accepted(Submission(request_id="r1"))


async def test_twenty_submissions_at_once_are_twenty_posts(pair: Pair) -> None:
    raw, fal = pair
    raw.says(200, good(raw))
    outcomes = await asyncio.gather(*(submit(fal) for _ in range(20)))
    assert {type(each) for each in outcomes} == {Accepted}
    assert len(raw.heard) == 20


@pytest.mark.parametrize(
    "other",
    [
        "http://localhost:{port}/x",
        "https://127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}@evil.example/x",
        "http://evil.example/x",
        "http://127.0.0.1/x",
        "//127.0.0.1:{port}/x",
        "/x",
        "ftp://127.0.0.1:{port}/x",
        "",
        "not an address",
    ],
)
async def test_a_stored_address_elsewhere_is_not_used_and_never_sees_our_key(
    pair: Pair, other: str
) -> None:
    raw, fal = pair
    raw.says(200, {"status": "IN_QUEUE", "queue_position": 0})
    url = other.format(port=urlsplit(raw.url).port)
    stored = Submission(request_id="r1", status_url=url, response_url=url, cancel_url=url)
    assert isinstance(await fal.check(MODEL, stored), Pending)
    await_result = await fal.result(MODEL, stored)
    assert isinstance(await_result, Unusable)
    assert [urlsplit(each.target).path for each in raw.heard] == [
        "/fal-ai/kling-video/requests/r1/status",
        "/fal-ai/kling-video/requests/r1",
    ]


async def test_another_servers_address_gets_no_request_at_all(pair: Pair) -> None:
    raw, fal = pair
    raw.says(200, {"status": "IN_QUEUE", "queue_position": 0})
    async with raw_fal() as (thief, _):
        thief.says(200, {"status": "COMPLETED", "logs": None})
        stored = Submission(request_id="r1", status_url=f"{thief.url}/s", response_url=thief.url)
        await fal.check(MODEL, stored)
        await fal.result(MODEL, stored)
        assert thief.heard == []


@pytest.mark.parametrize("broken", ["http://[oops", "http://127.0.0.1:99999999/x"])
async def test_a_stored_address_that_cannot_be_parsed_is_replaced(pair: Pair, broken: str) -> None:
    raw, fal = pair
    raw.says(200, {"status": "IN_QUEUE", "queue_position": 0})
    stored = Submission(request_id="r1", status_url=broken, response_url=broken)
    assert isinstance(await fal.check(MODEL, stored), Pending)


async def test_a_stored_address_on_the_queue_is_used_as_it_is(pair: Pair) -> None:
    raw, fal = pair
    raw.says(200, {"status": "IN_QUEUE", "queue_position": 0})
    await fal.check(MODEL, Submission(request_id="r1", status_url=f"{raw.url}/own/way/status"))
    assert urlsplit(raw.heard[0].target).path == "/own/way/status"
    assert raw.heard[0].headers["authorization"] == f"Key {KEY}"


@pytest.mark.parametrize(
    ("model", "app"),
    [
        (MODEL, "fal-ai/kling-video"),
        ("bytedance/seedance-2.0/image-to-video", "bytedance/seedance-2.0"),
        ("workflows/me/flow/x", "workflows/me/flow"),
    ],
)
async def test_a_rebuilt_address_has_owner_and_app_only(pair: Pair, model: str, app: str) -> None:
    raw, fal = pair
    raw.says(404, {"status": "NOT_FOUND"})
    await fal.check(model, Submission(request_id="r1"))
    assert urlsplit(raw.heard[0].target).path == f"/{app}/requests/r1/status"
