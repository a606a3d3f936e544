"""The status of a job: one read, one shape, nothing of anybody else's."""

import re
from datetime import UTC, datetime

import pytest

from service.domain.job import STATUS, JobState
from tests.web.forms import check_problem, fresh_email
from tests.web.reading import INSTANT, STATUS_PATH, VIEW, ask, check_shape, one_job, put_in
from tests.world import World

on_shared = pytest.mark.asyncio(loop_scope="package")


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
