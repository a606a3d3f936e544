"""What fal lists and deletes, over raw sockets: nothing that is unclear proves an absence."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from service.adapters.fal import (
    LISTING_PAGES,
)
from service.domain.errors import InputHidden, KeyRefused, Transient
from service.domain.verdict import Pending, Refused, Rendered, Unusable
from tests.web.fal_answers import DETAIL, MODEL, NGINX, SINCE, UNTIL, VIDEO, Pair, item
from tests.web.raw_fal import Exchange


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


async def test_a_request_without_its_input_is_no_riddle_if_it_was_deleted(pair: Pair) -> None:
    raw, fal = pair
    needle = "users/1/start/v1.png"
    raw.says(200, {"items": [item(1), item(2, json_input=None), item(3, json_input=None)]})
    with pytest.raises(InputHidden) as hidden:
        await fal.find(MODEL, needle, SINCE, UNTIL, forgotten=["r2"])
    assert hidden.value.request_ids == {"r3"}
    found = await fal.find(MODEL, needle, SINCE, UNTIL, forgotten=["r2", "r3"])
    assert [each.request_id for each in found] == ["r1"]


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
