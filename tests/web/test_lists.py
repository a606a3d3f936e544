"""What an owner lists: the library and its pages, credits, templates."""

import asyncio
from typing import Any

import pytest

from service.adapters.rows import job_record
from service.domain.providers import PROVIDERS
from tests.web.deliveries import SILENT
from tests.web.forms import check_problem, fresh_email
from tests.web.reading import INSTANT, ITEM, check_shape, one_job
from tests.world import World

on_shared = pytest.mark.asyncio(loop_scope="package")


async def library(world: World, email: str, **params: Any) -> dict[str, Any]:
    answer = await world.http.get("/api/library", params=params, headers=world.headers(email))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found.keys() == {"items", "nextCursor"}
    return found


@on_shared
async def test_the_library_pages_through_all_jobs_newest_first_without_gap_or_repeat(
    shared: World,
) -> None:
    email, other = fresh_email(), fresh_email()
    for each in (email, other):
        await shared.grant(1000, each)
    made = [await shared.submit(email=email, brand=SILENT) for _ in range(5)]
    await shared.submit(email=other, brand=SILENT)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for size in (2, 2, 1):
        page = await library(shared, email, limit=2, **cursor)
        assert len(page["items"]) == size
        for item in page["items"]:
            check_shape(item, ITEM)
            assert (item["templateSlug"], item["price"]) == ("night-life-roller", 40)
            assert (item["provider"], item["durationSeconds"]) == ("seedance", 5)
        seen += [item["jobId"] for item in page["items"]]
        cursor = {"cursor": page["nextCursor"]}
    assert cursor == {"cursor": None}
    assert seen == made[::-1]


@on_shared
async def test_a_page_that_holds_exactly_the_rest_has_no_next_one(shared: World) -> None:
    email = fresh_email()
    await shared.grant(1000, email)
    for _ in range(2):
        await shared.submit(email=email, brand=SILENT)
    assert (await library(shared, email, limit=2))["nextCursor"] is None
    assert await library(shared, fresh_email()) == {"items": [], "nextCursor": None}


@on_shared
@pytest.mark.parametrize(
    "params",
    [{"limit": each} for each in ("0", "101", "-1", "x", "", "1.5", "\u0665", "9" * 5000)]
    + [{"cursor": each} for each in ("", "a b", "x" * 65, "video_job:1")],
    ids=lambda each: repr(each)[:30],
)
async def test_a_bad_page_is_422_naming_what_is_wrong(
    shared: World, params: dict[str, str]
) -> None:
    answer = await shared.http.get("/api/library", params=params, headers=shared.headers())
    found = check_problem(answer, 422, "invalid_request")
    assert [each["field"] for each in found["errors"]] == list(params)


@on_shared
async def test_somebody_elses_job_as_a_cursor_tells_no_more_than_an_unknown_one(
    shared: World,
) -> None:
    email = fresh_email()
    await shared.grant(1000, email)
    await shared.submit(email=email, brand=SILENT)
    foreign, _ = await one_job(shared)
    answers = [
        await shared.http.get(
            "/api/library", params={"cursor": cursor}, headers=shared.headers(email)
        )
        for cursor in ("v00000000000000000000000000", foreign)
    ]
    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()


@on_shared
async def test_jobs_of_the_same_instant_are_all_listed(shared: World) -> None:
    email = fresh_email()
    await shared.grant(1000, email)
    made = await asyncio.gather(*(shared.submit(email=email, brand=SILENT) for _ in range(3)))
    await shared.quiet()
    database = shared.runtime.store.database
    for each in made:  # created_at is read-only: the row is written anew
        job = job_record(each)
        row = await database.read("SELECT * OMIT id FROM ONLY $job", job=job)
        await database.write("DELETE $job", job=job)
        await database.write(
            "CREATE $job CONTENT object::extend($row, { created_at: d'2026-01-01T00:00:00Z' })",
            job=job,
            row=row,
        )
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = await library(shared, email, limit=1, **cursor)
        seen += [item["jobId"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert sorted(seen) == sorted(made)


@on_shared
async def test_credits_are_the_balance_and_the_latest_entries(shared: World) -> None:
    email = fresh_email()
    asked = await shared.http.get("/api/credits", headers=shared.headers(email))
    assert asked.json() == {"available": 0, "reserved": 0, "entries": []}
    await shared.grant(100, email)
    job_id = await shared.submit(email=email, brand=SILENT)
    found = (await shared.http.get("/api/credits", headers=shared.headers(email))).json()
    assert (found["available"], found["reserved"]) == (60, 40)
    kinds = {each["kind"]: each for each in found["entries"]}
    assert kinds.keys() == {"grant", "reserve"}
    assert (kinds["grant"]["credits"], kinds["grant"]["jobId"]) == (100, None)
    assert (kinds["reserve"]["credits"], kinds["reserve"]["jobId"]) == (40, job_id)
    for each in found["entries"]:
        assert each.keys() == {"id", "kind", "credits", "jobId", "at"}
        assert isinstance(each["id"], str)
        assert INSTANT.fullmatch(each["at"])


@on_shared
async def test_credits_show_the_twenty_latest_entries_newest_first(shared: World) -> None:
    email = fresh_email()
    for amount in range(1, 23):
        await shared.grant(amount, email)
    found = (await shared.http.get("/api/credits", headers=shared.headers(email))).json()
    assert [each["credits"] for each in found["entries"]] == list(range(22, 2, -1))


@on_shared
async def test_templates_say_what_can_be_chosen_and_at_what_price(shared: World) -> None:
    answer = await shared.http.get("/api/templates", headers=shared.headers())
    templates = {each["slug"]: each for each in answer.json()["templates"]}
    roller = templates["night-life-roller"]
    assert roller["variables"] == ["BRAND"]
    assert (roller["provider"], roller["duration"]) == ("seedance", 5)
    assert "prompt" not in roller
    listed = {each["name"]: each for each in roller["providers"]}
    assert listed.keys() == {n for n, each in PROVIDERS.items() if each.retired_on is None}
    seedance = listed["seedance"]
    assert seedance["credits"]["5"] == 40
    assert seedance["durations"] == list(range(2, 13))
    assert seedance.keys() == {
        "name",
        "title",
        "creditsPerSecond",
        "durations",
        "credits",
        "expectedRenderSeconds",
    }
