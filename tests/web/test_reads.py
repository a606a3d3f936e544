"""What can be read: a job's status for one database read, library, credits, templates, health."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from service.adapters.rows import inbox_record, job_record
from service.domain.job import STATUS, JobState
from service.domain.providers import PROVIDERS
from service.sandbox.object_store import ObjectStore
from service.web.health import INBOX_PATIENCE_S
from tests.web.conftest import KNOWN_KEY
from tests.web.deliveries import SILENT, inbox, silent_job
from tests.web.forms import check_problem, fresh_email
from tests.world import World, open_world

on_shared = pytest.mark.asyncio(loop_scope="package")

STATUS_PATH = "/api/templates/video/status"
VIEW = {
    "jobId": str,
    "status": str,
    "progress": int,
    "etaSeconds": int | None,
    "previewUrl": str | None,
    "thumbnailUrl": str | None,
    "ifFinished": str | None,
    "url": str | None,
    "key": str | None,
    "credits": int | None,
    "error": dict | None,
    "version": int,
    "createdAt": str,
    "updatedAt": str,
}
ITEM = VIEW | {"templateSlug": str, "provider": str, "durationSeconds": int, "price": int}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def check_shape(found: Mapping[str, Any], shape: Mapping[str, Any]) -> None:
    assert found.keys() == shape.keys()
    for name, kind in shape.items():
        assert isinstance(found[name], kind), name
        assert not isinstance(found[name], bool), name


async def ask(world: World, job_id: str, email: str, **headers: str) -> httpx.Response:
    return await world.http.get(
        STATUS_PATH, params={"jobId": job_id}, headers=world.headers(email) | headers
    )


async def put_in(world: World, job_id: str, state: JobState) -> None:
    """As if the job had come to that state by itself."""
    await world.runtime.store.database.write(
        "UPDATE $job SET state = $state, version += 1, due = NONE,"
        " error = IF $failed { { code: 'made_up', message: 'Made up.' } } ELSE { NONE }",
        job=job_record(job_id),
        state=state.value,
        failed=state in {JobState.FAILED, JobState.CANCELLED},
    )


async def one_job(world: World) -> tuple[str, str]:
    email = fresh_email()
    await world.grant(100, email)
    job_id = await world.submit(email=email, brand=SILENT)
    await world.until_state(job_id, "submitted")
    return job_id, email


# --------------------------------------------------------------------------------------- status


@on_shared
@pytest.mark.parametrize("state", list(JobState))
async def test_every_state_has_the_same_shape_and_says_what_is_true_in_it(
    shared: World, state: JobState
) -> None:
    job_id, email = await one_job(shared)
    await put_in(shared, job_id, state)
    answer = await ask(shared, job_id, email)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-cache"
    view = answer.json()
    check_shape(view, VIEW)
    assert (view["jobId"], view["status"]) == (job_id, STATUS[state].value)
    assert INSTANT.fullmatch(view["createdAt"])
    assert INSTANT.fullmatch(view["updatedAt"])
    assert view["updatedAt"] >= view["createdAt"]
    made = datetime.fromisoformat(view["createdAt"])
    assert abs((datetime.now(UTC) - made).total_seconds()) < 60
    completed = state is JobState.READY
    assert [view[name] is not None for name in ("url", "key", "credits")] == [completed] * 3
    assert (view["progress"] == 100) == completed
    assert 0 <= view["progress"] <= 100
    failed = view["status"] == "failed"
    assert view["error"] == ({"code": "made_up", "message": "Made up."} if failed else None)
    if view["etaSeconds"] is not None:
        assert view["status"] in {"pending", "processing"}
        assert view["etaSeconds"] > 0


@on_shared
@pytest.mark.parametrize("fresh", [True, False], ids=["200", "304"])
async def test_a_status_read_costs_one_database_read_and_no_call_to_fal(
    shared: World,
    fresh: bool,  # noqa: FBT001
) -> None:
    job_id, email = await one_job(shared)
    await put_in(shared, job_id, JobState.READY)
    await shared.quiet()
    tag = (await ask(shared, job_id, email)).headers["etag"]
    counts, calls = await shared.counts(), shared.runtime.store.database.calls
    answer = await ask(shared, job_id, email, **({} if fresh else {"If-None-Match": tag}))
    assert shared.runtime.store.database.calls - calls == 1
    assert answer.status_code == (200 if fresh else 304)
    assert await shared.counts() == counts


@on_shared
async def test_an_unchanged_status_is_304_without_a_body_and_a_change_of_state_is_not(
    shared: World,
) -> None:
    """F78: the version is in the tag."""
    job_id, email = await one_job(shared)
    tags = []
    for state in (JobState.RESERVED, JobState.SUBMIT_UNKNOWN, JobState.RENDERED, JobState.READY):
        await put_in(shared, job_id, state)
        first = await ask(shared, job_id, email)
        tags.append(first.headers["etag"])
        again = await ask(shared, job_id, email, **{"If-None-Match": tags[-1]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tags[-1])
        several = await ask(shared, job_id, email, **{"If-None-Match": f'"x", {tags[-1]}, "y"'})
        assert several.status_code == 304
        for old in tags[:-1]:
            changed = await ask(shared, job_id, email, **{"If-None-Match": old})
            assert changed.status_code == 200
    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch(r'(W/)?"[!#-~]+"', tag) for tag in tags)


@on_shared
async def test_a_tag_of_one_job_is_none_of_another(shared: World) -> None:
    (one, email), (two, other) = await one_job(shared), await one_job(shared)
    for job_id in (one, two):
        await put_in(shared, job_id, JobState.FAILED)
    tags = [
        (await ask(shared, each, who)).headers["etag"] for each, who in ((one, email), (two, other))
    ]
    assert tags[0] != tags[1]


@on_shared
@pytest.mark.parametrize(
    "job_id",
    [
        "v00000000000000000000000000",
        "x" * 64,
        "x" * 65,
        "x" * 5000,
        "video_job:1",
        "../x",
        "a b",
        "é",
        "\0",
        "v1\n",
        "⟨x⟩",
        "[1,2]",
    ],
    ids=lambda text: repr(text)[:20],
)
async def test_an_unknown_or_malformed_id_is_404_in_one_shape(shared: World, job_id: str) -> None:
    check_problem(await ask(shared, job_id, fresh_email()), 404, "not_found")


@on_shared
async def test_somebody_elses_job_looks_exactly_like_none(shared: World) -> None:
    """F81: the same status, the same body."""
    job_id, email = await one_job(shared)
    foreign = await ask(shared, job_id, fresh_email())
    unknown = await ask(shared, "v00000000000000000000000000", fresh_email())
    assert check_problem(foreign, 404, "not_found") == check_problem(unknown, 404, "not_found")
    assert "etag" not in foreign.headers
    tag = (await ask(shared, job_id, email)).headers["etag"]
    assert (await ask(shared, job_id, fresh_email(), **{"If-None-Match": tag})).status_code == 404
    assert (await ask(shared, job_id, email.upper())).status_code == 200


@on_shared
@pytest.mark.parametrize("query", ["", "?jobId=", "?jobid=x", "?id=x"])
async def test_a_missing_job_id_is_422_naming_it(shared: World, query: str) -> None:
    answer = await shared.http.get(STATUS_PATH + query, headers=shared.headers())
    found = check_problem(answer, 422, "invalid_request")
    assert [each["field"] for each in found["errors"]] == ["jobId"]


@on_shared
@pytest.mark.parametrize(
    "path", [STATUS_PATH + "?jobId=x", "/api/library", "/api/credits", "/api/templates"]
)
async def test_every_read_needs_a_sign_in(shared: World, path: str) -> None:
    answer = await shared.http.get(path)
    check_problem(answer, 401, "sign_in_required")
    assert answer.headers["www-authenticate"] == "Bearer"


# -------------------------------------------------------------------- library, credits, templates


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


# ------------------------------------------------------------------------------ health and the rest


@on_shared
async def test_a_healthy_process_is_live_and_ready(shared: World) -> None:
    assert (await shared.http.get("/health/live")).json() == {"status": "ok"}
    answer = await shared.http.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {
            "database": "ok",
            "migrations": "ok",
            "keySet": "ok",
            "inbox": "ok",
            "webhook": "not checked",
        },
    }


async def test_a_delivery_that_has_waited_too_long_makes_the_process_unready_and_says_so(
    s3: ObjectStore,
) -> None:
    async with open_world(s3, sandbox=KNOWN_KEY) as world:

        async def waiting(name: str, received_s: float, due_s: float) -> None:
            await world.runtime.store.database.write(
                "CREATE $entry SET job = $job, attempt = 1, request_id = 'r', user_id = 'u',"
                " body = $body, stale = false, received_at = time::now() - <duration>$received,"
                " due = time::now() - <duration>$due",
                entry=inbox_record(name),
                job=job_record("v-none"),
                body=b"{}",
                received=f"{received_s:.0f}s",
                due=f"{due_s:.0f}s",
            )

        await waiting("young", INBOX_PATIENCE_S - 60, 1)
        assert (await world.http.get("/health/ready")).status_code == 200
        await waiting("old", INBOX_PATIENCE_S + 60, 1)
        checks = check_problem(await world.readiness(503), 503, "not_ready")["checks"]
        assert re.fullmatch(r"a delivery has waited 36\d s", checks.pop("inbox"))
        assert set(checks.values()) == {"ok", "not checked"}
        assert (await world.http.get("/health/live")).status_code == 200
        await world.runtime.store.park_delivery("old", "a person looks")
        await world.readiness(200)


async def test_a_delivery_put_off_again_and_again_still_counts_as_waiting(
    s3: ObjectStore,
) -> None:
    """Each look at an entry moves its due time on; readiness must not be fooled by that."""
    async with open_world(s3, sandbox=KNOWN_KEY) as world:
        await world.runtime.store.database.write(
            "CREATE $entry SET job = $job, attempt = 1, request_id = 'r', user_id = 'u',"
            " body = $body, stale = false, received_at = time::now() - 1h, attempts = 3,"
            " due = time::now() + 20s",
            entry=inbox_record("retried"),
            job=job_record("v-none"),
            body=b"{}",
        )
        assert len(await inbox(world)) == 1
        check_problem(await world.http.get("/health/ready"), 503, "not_ready")


@on_shared
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/api/templates/video/status/", 404, "not_found"),
        ("GET", "/api//templates", 404, "not_found"),
        ("GET", "/API/TEMPLATES", 404, "not_found"),
        ("GET", "/api/fal/webhook", 404, "not_found"),
        ("POST", "/api/fal/webhook/", 404, "not_found"),
        ("POST", "/api/fal/webhook/a/b", 404, "not_found"),
        ("POST", "/api/fal/webhook/a%2Fb", 404, "not_found"),
        ("GET", "/api/fal/webhook/x", 405, "method_not_allowed"),
        ("PUT", "/api/fal/webhook/x/", 405, "method_not_allowed"),
        ("GET", "/api/templates/video", 405, "method_not_allowed"),
        ("POST", "/api/templates", 405, "method_not_allowed"),
        ("DELETE", "/api/credits", 405, "method_not_allowed"),
        ("POST", "/health/live", 405, "method_not_allowed"),
    ],
)
async def test_an_unknown_path_or_method_is_a_problem_and_never_a_redirect(
    shared: World, method: str, path: str, status: int, code: str
) -> None:
    answer = await shared.http.request(method, path, headers=shared.headers())
    check_problem(answer, status, code)
    if status == 405:
        assert answer.headers["allow"]


async def test_a_bug_is_500_and_tells_the_caller_nothing_of_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.grant(100)
    job = await silent_job(world)

    async def broken(job_id: str) -> Any:
        raise RuntimeError(f"tell nobody about {job_id}")

    object.__setattr__(world.runtime.store, "job", broken)
    answer = await ask(world, job.job_id, "ana@example.com")
    found = check_problem(answer, 500, "internal_error")
    assert "tell nobody" not in str(found)
    assert any(each.getMessage() == "unexpected error" for each in caplog.records)


@on_shared
async def test_no_answer_names_the_server_software(shared: World) -> None:
    for path in ("/health/live", "/nope", STATUS_PATH):
        assert "server" not in (await shared.http.get(path)).headers
