"""fal's words: what is final, what is not, and that no message whatever breaks the reading."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain.job import JobError
from service.domain.verdict import (
    Broke,
    Missing,
    Pending,
    Refused,
    Rendered,
    Unreadable,
    Unusable,
    parse_delivery,
    parse_refusal,
    parse_result,
    video_url,
)

REQUEST = "r-1"
URL = "https://v3.fal.media/files/a/b.mp4"
POLICY = {"detail": [{"loc": ["body", "prompt"], "msg": "no", "type": "content_policy_violation"}]}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["status", "payload", "error", "detail", "msg", "type", "loc", "video", "url", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
STRUCTURED = st.fixed_dictionaries(
    {"msg": st.text(max_size=400)},
    optional={"type": st.text(max_size=20) | st.integers() | st.none(), "loc": JSON},
)
MESSAGES = st.fixed_dictionaries(
    {"status": st.sampled_from(["OK", "ERROR"]) | JSON},
    optional={
        "request_id": st.just(REQUEST) | JSON,
        "payload": JSON | st.fixed_dictionaries({"detail": st.lists(STRUCTURED, max_size=2)}),
        "error": st.sampled_from(["Unexpected status code: 422", "500", "x"]) | JSON,
    },
)


def said(**message: Any) -> bytes:
    return json.dumps({"request_id": REQUEST, **message}).encode()


@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"[" * 100_000)
@example(b'{"a":' * 50_000)
@example(b"1" * 10_000)
@example(b'{"status":"OK","payload":' + b"1" * 10_000 + b"}")
@example(b'{"status":"ERROR","error":' + b"9" * 4_000 + b"}")
@example(b"NaN")
@example(b'\xef\xbb\xbf{"status":"OK"}')
def test_arbitrary_bytes_are_read_or_unreadable(body: bytes) -> None:
    """F35: one class of error."""
    with contextlib.suppress(Unreadable):
        parse_delivery(body, REQUEST)


@given(JSON | MESSAGES)
@example({"status": "ERROR", "error": "\ud800"})
def test_arbitrary_json_is_read_or_unreadable(message: Any) -> None:
    """F35: whatever it holds."""
    with contextlib.suppress(Unreadable):
        parse_delivery(json.dumps(message).encode(), REQUEST)


@given(status=st.integers(100, 599), body=JSON | MESSAGES)
def test_any_result_has_a_verdict(status: int, body: Any) -> None:
    assert parse_result(status, body) is not None


@given(error=st.text(max_size=60) | st.sampled_from(["Unexpected status code: 422", "422"]))
def test_an_error_without_a_payload_is_never_a_refusal(error: str) -> None:
    assert isinstance(parse_delivery(said(status="ERROR", error=error), REQUEST), Pending)
    null = said(status="ERROR", error=error, payload=None)
    assert isinstance(parse_delivery(null, REQUEST), Pending)


INFRASTRUCTURE = st.sampled_from(
    [401, 403, 404, 408, 409, 425, 429, 499, *range(500, 512), 301, 200, 100]
)


@given(code=INFRASTRUCTURE, items=st.lists(STRUCTURED, max_size=2))
def test_an_infrastructure_error_is_never_a_refusal_whatever_its_body(
    code: int, items: list[Any]
) -> None:
    """F24: nobody is refunded for it."""
    body = {"detail": items}
    assert parse_refusal(code, body) is None
    error = f"Unexpected status code: {code}"
    delivered = parse_delivery(said(status="ERROR", error=error, payload=body), REQUEST)
    assert isinstance(delivered, Pending)
    if code >= 300:
        assert isinstance(parse_result(code, body), Broke | Missing | Pending)


@given(st.text(max_size=100) | st.none() | st.integers())
def test_a_plain_text_detail_is_the_gateways_own_and_never_a_refusal(detail: Any) -> None:
    for code in (400, 422):
        assert parse_refusal(code, {"detail": detail}) is None


@given(first=STRUCTURED, more=st.lists(STRUCTURED | JSON, max_size=2))
def test_a_structured_422_is_always_a_refusal_with_words_for_the_owner(
    first: dict[str, Any], more: list[Any]
) -> None:
    """F24: the last word."""
    body = {"detail": [first, *more]}
    error = "Unexpected status code: 422"
    delivered = parse_delivery(said(status="ERROR", error=error, payload=body), REQUEST)
    for verdict in (delivered, parse_result(422, body)):
        assert isinstance(verdict, Refused)
        assert verdict.error.code
        assert 0 < len(verdict.error.message) < 1000


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("content_policy_violation", "content_policy"),
        ("file_download_error", "image_unreachable"),
        ("image_too_small", "image_too_small"),
        ("image_too_large", "image_too_large"),
        ("value_error", "refused_by_provider"),
    ],
)
def test_a_refusal_has_a_stable_code(kind: str, code: str) -> None:
    verdict = parse_refusal(422, {"detail": [{"msg": "m", "type": kind, "loc": ["body", "f"]}]})
    assert verdict is not None
    assert verdict.error.code == code


def test_an_unlisted_refusal_names_the_field_and_fals_words() -> None:
    verdict = parse_refusal(400, {"detail": [{"msg": "too odd", "loc": ["body", "seed"]}]})
    assert verdict == Refused(
        JobError(
            code="refused_by_provider",
            message="The provider refused the request (seed: too odd).",
        )
    )


def test_an_ok_says_rendered_with_or_without_an_address() -> None:
    """F23: an OK is never a failure."""
    assert parse_delivery(said(status="OK", payload={"video": {"url": URL}}), REQUEST) == Rendered(
        URL
    )
    for message in (
        said(status="OK"),
        said(status="OK", payload=None),
        said(status="OK", payload={"video": {"url": ""}}),
        said(status="OK", payload_error="too large"),
    ):
        assert parse_delivery(message, REQUEST) == Rendered(None)


def test_a_body_about_another_request_settles_nothing() -> None:
    for message in (
        said(status="OK", payload={"video": {"url": URL}}, request_id="r-2"),
        said(status="ERROR", error="422", payload=POLICY, request_id="r-2"),
    ):
        assert isinstance(parse_delivery(message, REQUEST), Pending)


def test_a_body_that_does_not_repeat_its_request_is_believed() -> None:
    assert parse_delivery(b'{"status": "OK"}', REQUEST) == Rendered(None)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"3", b"{}", b'{"status": "ok"}', b'{"status": 3}', b"\xff"]
)
def test_what_has_no_status_of_fals_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_delivery(body, REQUEST)


def test_results_are_read_by_their_status() -> None:
    assert parse_result(200, {"video": {"url": URL}}) == Rendered(URL)
    assert isinstance(parse_result(200, {"images": []}), Unusable)
    assert isinstance(parse_result(422, POLICY), Refused)
    assert parse_result(404, {"detail": "not found"}) == Missing()
    assert isinstance(parse_result(500, POLICY, error_type="runner_error"), Broke)
    assert isinstance(parse_result(500, {"error_type": "runner_error"}), Broke)


@pytest.mark.parametrize("status", [200, 301, 400, 404, 422, 500, 502, 503])
@pytest.mark.parametrize("page", ["<html>", None, [], 3])
def test_what_a_gateway_says_settles_nothing(status: int, page: Any) -> None:
    """Acting on it could pay for the same video twice."""
    assert isinstance(parse_result(status, page), Pending)


def test_a_server_error_that_fal_does_not_name_settles_nothing() -> None:
    assert isinstance(parse_result(500, POLICY), Pending)


def test_a_client_error_without_structure_is_for_a_person() -> None:
    assert isinstance(parse_result(422, {"detail": "text"}), Unusable)


@pytest.mark.parametrize("payload", [None, [], "x", {"video": None}, {"video": {"url": 3}}, {}])
def test_an_output_without_an_address_has_none(payload: Any) -> None:
    assert video_url(payload) is None


@pytest.mark.parametrize("odd", ["\ud800", "a\udfffb"])
def test_what_a_verdict_carries_can_be_written_down(odd: str) -> None:
    """JSON may hold half a character, which no database takes: the job would never end."""
    body = {"detail": [{"msg": odd, "type": odd, "loc": [odd]}]}
    refused = parse_delivery(said(status="ERROR", error="422", payload=body), REQUEST)
    assert isinstance(refused, Refused)
    assert refused.error.message.encode()
    rendered = parse_delivery(said(status="OK", payload={"video": {"url": URL + odd}}), REQUEST)
    assert isinstance(rendered, Rendered)
    assert (rendered.source_url or "").encode() is not None
