"""What fal says of a request, over raw sockets: each answer read for its meaning."""

from collections.abc import Awaitable
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.adapters.fal import (
    FalSettings,
)
from service.domain.errors import KeyRefused, Transient
from service.domain.job import Submission
from service.domain.verdict import Broke, Missing, Pending, Refused, Rendered, Unusable, Verdict
from tests.web.fal_answers import (
    DETAIL,
    MODEL,
    NGINX,
    SINCE,
    UNTIL,
    VIDEO,
    Pair,
    answers,
    broken_gzip,
    drop,
    hang,
    no_http,
)
from tests.web.raw_fal import KEY, Behave, Exchange

COMPLETED = {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 1.0}}


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


async def test_our_key_is_in_no_text_of_the_adapter() -> None:
    settings = FalSettings(key=KEY, queue_url="http://q", platform_url="http://p")
    assert KEY not in repr(settings)
