"""fal's queue over raw sockets: one POST whatever happens, each answer read for its meaning."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from service.adapters import fal as adapter
from service.adapters.fal import (
    LISTING_PAGES,
    FalSettings,
    HttpFal,
    open_fal,
)
from service.commands.local import free_port
from service.domain.errors import InputHidden, KeyRefused, Transient
from service.domain.job import Submission
from service.domain.verdict import Broke, Missing, Pending, Refused, Rendered, Unusable, Verdict
from service.ports import Accepted, Declined, NotAccepted, SubmitOutcome, Unknown
from tests.web.raw_fal import KEY, Behave, Exchange, RawFal, raw_fal

MODEL = "fal-ai/kling-video/v2.5-turbo/pro/image-to-video"
HOOK = "https://video.example/api/fal/webhook/v1.abc?x=1&y=ü"
ARGUMENTS = {"prompt": "a dog é", "duration": "5", "image_url": "https://r2.example/i.png?sig=1"}
Pair = tuple[RawFal, HttpFal]
SINCE = datetime(2026, 11, 22, 12, tzinfo=UTC)
UNTIL = datetime(2026, 11, 22, 13, tzinfo=UTC)

NGINX = b"<html><head><title>502 Bad Gateway</title></head><center>nginx</center></html>"
DETAIL = {"detail": [{"loc": ["body", "prompt"], "msg": "is bad", "type": "value_error"}]}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what never ends well: elsewhere a busy machine may take its time."""
    monkeypatch.setattr(adapter, "SUBMIT_TIMEOUT", httpx.Timeout(0.3, connect=5.0))
    monkeypatch.setattr(adapter, "READ_TIMEOUT_S", 0.3)


@pytest.fixture
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    case = getattr(request.node, "callspec", None)
    if case is not None and hang in case.params.values():
        request.getfixturevalue("impatient")
    async with raw_fal() as found:
        yield found


def good(raw: RawFal, **other: Any) -> dict[str, Any]:
    base = f"{raw.url}/fal-ai/kling-video/requests/r1"
    return {
        "status": "IN_QUEUE",
        "request_id": "r1",
        "gateway_request_id": "g1",
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
        "queue_position": 0,
        **other,
    }


async def submit(fal: HttpFal) -> SubmitOutcome:
    return await fal.submit(MODEL, ARGUMENTS, HOOK)


# -------------------------------------------------------------------------------------- submit


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


async def drop(exchange: Exchange) -> None:
    exchange.reset()


async def hang(exchange: Exchange) -> None:
    await exchange.hang()


async def close_politely(exchange: Exchange) -> None:
    exchange.writer.close()


async def half_an_answer(exchange: Exchange) -> None:
    exchange.writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"request_id": "r1"')
    await exchange.writer.drain()


async def no_http(exchange: Exchange) -> None:
    exchange.writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await exchange.writer.drain()


async def broken_gzip(exchange: Exchange) -> None:
    await exchange.answer(200, b"not gzip", {"Content-Encoding": "gzip"})


def answers(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> Behave:
    return lambda exchange: exchange.answer(status, body, headers)


RETRYABLE = {"X-Fal-Needs-Retry": "1", "Retry-After": "0"}
SUBMITS: dict[str, tuple[Behave, type]] = {
    # facts/fal.md 3.2, row by row
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


# --------------------------------------------------------------------------------- whose address


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


# ----------------------------------------------------------------------------- status and result

COMPLETED = {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 1.0}}
VIDEO = {"video": {"url": "https://v3.fal.media/files/b/x/out.mp4"}}


def then(status_body: Any, result: tuple[int, Any]) -> Behave:
    """COMPLETED or so at the status address, this at the result's."""

    async def behave(exchange: Exchange) -> None:
        if urlsplit(exchange.heard.target).path.endswith("/status"):
            await exchange.answer(200, status_body)
        else:
            await exchange.answer(*result)

    return behave


CHECKS: dict[str, tuple[Behave, Any]] = {
    "queued": (answers(202, {"status": "IN_QUEUE", "queue_position": 3}), Pending("Queued")),
    "rendering": (answers(202, {"status": "IN_PROGRESS", "logs": None}), Pending("InProgress")),
    "done": (then(COMPLETED, (200, VIDEO)), Rendered(VIDEO["video"]["url"])),
    "done, no url": (
        then(COMPLETED, (200, {"video": {}})),
        Unusable("fal's result holds no video address"),
    ),
    "done, HTML": (then(COMPLETED, (200, NGINX)), Pending),
    "failed by infrastructure": (
        then({**COMPLETED, "error": "x", "error_type": "runner_server_error"}, (500, {})),
        Broke,
    ),
    "failed behind the gateway": (
        then(
            {**COMPLETED, "error": "x", "error_type": "runner_incomplete_response"},
            (502, {"detail": "x", "error_type": "runner_incomplete_response"}),
        ),
        Broke,
    ),
    "refused": (then({**COMPLETED, "error": "422"}, (422, DETAIL)), Refused),
    "a 422 without structure": (then(COMPLETED, (422, {"detail": "x"})), Unusable),
    "result unknown": (then(COMPLETED, (404, {"status": "NOT_FOUND"})), Missing()),
    "unknown": (answers(404, {"status": "NOT_FOUND"}), Missing()),
}


@pytest.mark.parametrize(("behave", "verdict"), CHECKS.values(), ids=CHECKS.keys())
async def test_what_fal_says_about_a_request_is_read_for_what_it_means(
    pair: Pair, behave: Behave, verdict: Any
) -> None:
    raw, fal = pair
    raw.behave = behave
    found = await fal.check(MODEL, Submission(request_id="r1"))
    assert found == verdict or type(found) is verdict
    assert {each.method for each in raw.heard} == {"GET"}


FAILING: dict[str, Behave] = {
    "429": answers(429, {"detail": "slow"}),
    "500": answers(500),
    "503": answers(503, NGINX),
    "301": answers(301, b"", {"Location": "/elsewhere"}),
    "dropped": drop,
    "silent": hang,
    "no HTTP": no_http,
    "HTML": answers(200, NGINX),
    "empty": answers(200),
    "a list": answers(200, []),
    "a word": answers(200, "COMPLETED"),
    "null": answers(200, b"null"),
    "an unknown word": answers(200, {"status": "FAILED"}),
    "no word": answers(200, {}),
    "too deep": answers(200, b"[" * 100_000),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("behave", FAILING.values(), ids=FAILING.keys())
async def test_a_status_that_cannot_be_had_or_understood_is_transient(
    pair: Pair, behave: Behave
) -> None:
    raw, fal = pair
    raw.behave = behave
    with pytest.raises(Transient) as caught:
        await fal.check(MODEL, Submission(request_id="r1"))
    assert not isinstance(caught.value, KeyRefused)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("code", [401, 403])
async def test_a_refused_key_has_a_class_of_its_own_where_it_says_something_of_the_key(
    pair: Pair, code: int
) -> None:
    raw, fal = pair
    raw.says(code, {"detail": "no"})
    request = Submission(request_id="r1")
    with pytest.raises(KeyRefused):
        await fal.check(MODEL, request)
    with pytest.raises(KeyRefused):
        await fal.result(MODEL, request)
    with pytest.raises(Transient) as caught:  # a key may render and yet not list
        await fal.find(MODEL, "x", SINCE, UNTIL)
    assert not isinstance(caught.value, KeyRefused)
    assert len(raw.heard) == 3


@pytest.mark.parametrize(
    "behave",
    [answers(429), answers(408), answers(409), answers(499), drop, hang, broken_gzip],
    ids=["429", "408", "409", "499", "dropped", "silent", "broken gzip"],
)
async def test_a_result_that_says_nothing_of_the_video_is_transient(
    pair: Pair, behave: Behave
) -> None:
    raw, fal = pair
    raw.behave = behave
    with pytest.raises(Transient):
        await fal.result(MODEL, Submission(request_id="r1"))
    assert len(raw.heard) == 1


@pytest.mark.parametrize("code", [502, 503, 504])
async def test_a_gateways_own_error_page_is_no_verdict_on_a_request_that_completed(
    pair: Pair, code: int
) -> None:
    """Read as "broke" it makes us POST the job again, although fal has rendered and billed it."""
    raw, fal = pair
    raw.behave = then(COMPLETED, (code, NGINX))
    assert await says_nothing(fal.check(MODEL, Submission(request_id="r1")))


async def says_nothing(asking: Awaitable[Verdict]) -> bool:
    """Whether the answer moves the job nowhere."""
    try:
        return isinstance(await asking, Pending)
    except Transient:
        return True


async def test_a_redirected_result_is_not_followed_and_no_verdict_on_the_video(
    pair: Pair,
) -> None:
    """A 3xx comes from a gateway: the request must not be given up, nor rendered anew, for it."""
    raw, fal = pair
    raw.says(302, b"", {"Location": "http://evil.example/"})
    assert await says_nothing(fal.result(MODEL, Submission(request_id="r1")))
    assert len(raw.heard) == 1


# -------------------------------------------------------------------------------------- listing


def item(number: int, needle: str = "users/1/start/v1.png", **other: Any) -> dict[str, Any]:
    return {
        "request_id": f"r{number}",
        "json_input": {"image_url": f"https://r2.example/{needle}?sig={number}"},
        "ended_at": None,
        "status_code": None,
        "json_output": None,
        **other,
    }


async def test_a_listing_is_read_to_its_last_page_and_filtered_by_the_needle(pair: Pair) -> None:
    raw, fal = pair
    ended: dict[str, Any] = {
        "ended_at": "2026-11-22T12:00:00Z",
        "status_code": 200,
        "json_output": VIDEO,
    }
    pages = {
        "": {"items": [item(1), item(2, "users/2/start/v2.png")], "next_cursor": "c/1&"},
        "c/1&": {"items": [item(3, **ended)], "next_cursor": None},
    }

    async def behave(exchange: Exchange) -> None:
        query = parse_qs(urlsplit(exchange.heard.target).query)
        assert query["endpoint_id"] == [MODEL]
        assert query["start"] == [SINCE.isoformat()]
        assert query["end"] == [UNTIL.isoformat()]
        await exchange.answer(200, pages[query.get("cursor", [""])[0]])

    raw.behave = behave
    found = await fal.find(MODEL, "users/1/start/v1.png", SINCE, UNTIL)
    assert [each.request_id for each in found] == ["r1", "r3"]
    assert isinstance(found[0].verdict, Pending)
    assert found[1].verdict == Rendered(VIDEO["video"]["url"])
    assert len(raw.heard) == 2


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ({"ended_at": "x", "status_code": 422, "json_output": DETAIL}, Refused),
        ({"ended_at": "x", "status_code": 500}, Pending),
        ({"ended_at": "x", "status_code": 200, "json_output": {}}, Unusable),
        ({"ended_at": "x", "status_code": "200"}, Pending),
        ({"ended_at": "x"}, Pending),
        ({"status_code": 200}, Pending),
    ],
    ids=repr,
)
async def test_a_listed_request_says_as_much_as_the_listing_tells(
    pair: Pair, other: dict[str, Any], verdict: type
) -> None:
    raw, fal = pair
    raw.says(200, {"items": [item(1, **other)]})
    (found,) = await fal.find(MODEL, "v1.png", SINCE, UNTIL)
    assert type(found.verdict) is verdict


async def test_a_listing_without_end_is_given_up(pair: Pair) -> None:
    raw, fal = pair
    raw.says(200, {"items": [], "next_cursor": "again"})
    with pytest.raises(Transient):
        await fal.find(MODEL, "x", SINCE, UNTIL)
    assert len(raw.heard) == LISTING_PAGES


@pytest.mark.parametrize(
    "body",
    [b"", NGINX, [], {}, {"items": 5}, {"items": None}, {"error": "x"}, b"[" * 100_000],
    ids=lambda each: repr(each)[:20],
)
async def test_a_listing_that_is_not_understood_proves_no_absence(pair: Pair, body: Any) -> None:
    raw, fal = pair
    raw.says(200, body)
    with pytest.raises(Transient):
        await fal.find(MODEL, "x", SINCE, UNTIL)


@pytest.mark.parametrize("row", [5, None, {}, {"request_id": "r"}, {"json_input": "v1"}], ids=repr)
async def test_a_row_that_cannot_be_judged_proves_no_absence(pair: Pair, row: Any) -> None:
    raw, fal = pair
    raw.says(200, {"items": [row, item(1)]})
    with pytest.raises(Transient):
        await fal.find(MODEL, "v1.png", SINCE, UNTIL)


async def test_a_listing_page_whose_inputs_are_withheld_proves_no_absence(pair: Pair) -> None:
    """With payload storage off fal lists null inputs: not finding the job there means nothing."""
    raw, fal = pair
    raw.says(200, {"items": [item(1, json_input=None)]})
    with pytest.raises(Transient):
        await fal.find(MODEL, "v1.png", SINCE, UNTIL)


async def test_our_key_is_in_no_text_of_the_adapter() -> None:
    settings = FalSettings(key=KEY, queue_url="http://q", platform_url="http://p")
    assert KEY not in repr(settings)


async def test_twenty_submissions_at_once_are_twenty_posts(pair: Pair) -> None:
    raw, fal = pair
    raw.says(200, good(raw))
    outcomes = await asyncio.gather(*(submit(fal) for _ in range(20)))
    assert {type(each) for each in outcomes} == {Accepted}
    assert len(raw.heard) == 20


# ------------------------------------------------------------------------------------- deletion


async def test_what_fal_stores_of_a_request_is_deleted_under_its_own_address(pair: Pair) -> None:
    raw, fal = pair
    raw.says(200, {"cdn_delete_results": [{"link": "https://x", "exception": None}]})
    assert await fal.forget("a/../b?c") is None
    [heard] = raw.heard
    assert (heard.method, heard.target) == (
        "DELETE",
        "/v1/models/requests/a%2F..%2Fb%3Fc/payloads",
    )


@pytest.mark.parametrize(
    ("status", "body", "kept"),
    [
        (200, {}, None),
        (200, b"<html>", None),
        (204, b"", None),
        (404, {}, None),
        (410, {}, None),
        (401, {}, "fal answered 401 to a deletion"),
        (403, {}, "fal answered 403 to a deletion"),
        (422, {}, "fal answered 422 to a deletion"),
        (
            200,
            {"cdn_delete_results": [{"exception": "no"}, {"exception": None}, 3]},
            "fal could not delete 1 of 3 files",
        ),
    ],
)
async def test_what_fal_says_to_a_deletion(
    pair: Pair, status: int, body: Any, kept: str | None
) -> None:
    raw, fal = pair
    raw.says(status, body)
    assert await fal.forget("r1") == kept


@pytest.mark.parametrize("status", [302, 402, 408, 429, 500, 503])
async def test_a_deletion_that_may_work_later_is_tried_again(pair: Pair, status: int) -> None:
    raw, fal = pair
    raw.says(status, {})
    with pytest.raises(Transient) as error:
        await fal.forget("r1")
    assert not isinstance(error.value, KeyRefused)


async def test_a_request_without_its_input_is_no_riddle_if_it_was_deleted(pair: Pair) -> None:
    raw, fal = pair
    needle = "users/1/start/v1.png"
    raw.says(200, {"items": [item(1), item(2, json_input=None), item(3, json_input=None)]})
    with pytest.raises(InputHidden) as hidden:
        await fal.find(MODEL, needle, SINCE, UNTIL, forgotten=["r2"])
    assert hidden.value.request_ids == {"r3"}
    found = await fal.find(MODEL, needle, SINCE, UNTIL, forgotten=["r2", "r3"])
    assert [each.request_id for each in found] == ["r1"]
