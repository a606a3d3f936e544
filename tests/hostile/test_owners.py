"""Whoever asks about a job that is not theirs learns nothing, by no sign that can be counted."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.web.forms import fresh_email
from tests.world import World

ABSENT = "v00000000000000000000000000"
STATUS = "/api/templates/video/status"
# What an answer says about the moment or the connection, not about what was asked.
PASSING = frozenset({"date", "content-length", "connection", "keep-alive"})
MALFORMED = [
    *("", "x" * 65, "a b", "..", "../v1", "v1/v2", "v%00", "v\u00e9", "video_job:v1", "v1;DROP"),
    *("1 OR 1=1", "$job", "{}", "v1\n", "null", "-", "x" * 5000),
]

Ask = Callable[[World, dict[str, str], str], Awaitable[httpx.Response]]


async def read(world: World, who: dict[str, str], job_id: str) -> httpx.Response:
    return await world.http.get(STATUS, params={"jobId": job_id}, headers=who)


async def wait(world: World, who: dict[str, str], job_id: str) -> httpx.Response:
    headers = who | {"If-None-Match": 'W/"1-0"'}
    query = {"jobId": job_id, "wait": "1"}
    return await world.http.get(STATUS, params=query, headers=headers)


async def watch(world: World, who: dict[str, str], job_id: str) -> httpx.Response:
    path = "/api/templates/video/events"
    return await world.http.get(path, params={"jobId": job_id}, headers=who)


async def cancel(world: World, who: dict[str, str], job_id: str) -> httpx.Response:
    path = "/api/templates/video/cancel"
    return await world.http.post(path, json={"jobId": job_id}, headers=who)


async def remove(world: World, who: dict[str, str], job_id: str) -> httpx.Response:
    escaped = httpx.URL(path="/api/library/" + job_id).raw_path.decode()
    return await world.http.delete(escaped.replace("?", "%3F"), headers=who)


DOORS: dict[str, Ask] = {
    "read": read,
    "wait": wait,
    "watch": watch,
    "cancel": cancel,
    "delete": remove,
}


@dataclass(frozen=True, slots=True)
class Told:
    """All that an asker can compare."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...]
    queries: int


async def told(world: World, ask: Ask, who: dict[str, str], job_id: str) -> Told:
    await world.quiet()
    before = world.runtime.store.database.calls
    answer = await ask(world, who, job_id)
    return Told(
        status=answer.status_code,
        body=answer.json(),
        headers=tuple(sorted((k, v) for k, v in answer.headers.items() if k not in PASSING)),
        queries=world.runtime.store.database.calls - before,
    )


async def job_of(world: World, email: str) -> str:
    await world.grant(100, email)
    job_id = await world.submit(email=email)
    await world.until(job_id, "completed", email=email)
    return job_id


@pytest.mark.parametrize("ask", DOORS.values(), ids=DOORS)
async def test_a_foreign_a_deleted_and_an_unknown_job_are_told_apart_by_nothing(
    shared: World, ask: Ask
) -> None:
    """F81: the same status, body, headers and number of queries."""
    owner, stranger = fresh_email(), fresh_email()
    who = shared.headers(stranger)
    foreign, own = await job_of(shared, owner), await job_of(shared, stranger)
    assert (await remove(shared, who, own)).status_code == 204
    await shared.quiet()

    unknown = await told(shared, ask, who, ABSENT)

    assert (unknown.status, unknown.body["code"]) == (404, "not_found")
    assert unknown.queries == 1
    assert await told(shared, ask, who, foreign) == unknown
    assert await told(shared, ask, who, own) == unknown
    assert (await shared.status(foreign, owner))["status"] == "completed"


@pytest.mark.parametrize("ask", DOORS.values(), ids=DOORS)
async def test_what_can_be_no_jobs_name_is_nothing_and_asks_the_database_nothing(
    shared: World, ask: Ask
) -> None:
    """F81: it says nothing that its sender does not know, and never reaches a query."""
    who = shared.headers(fresh_email())
    unknown = await told(shared, ask, who, ABSENT)
    for name in MALFORMED:
        try:
            found = await told(shared, ask, who, name)
        except httpx.InvalidURL:
            continue
        if found.status in {405, 422} or found.body["detail"] == "Not Found":
            continue  # another path, or an argument that is missing or too long
        assert (found.status, found.body) == (unknown.status, unknown.body), name
        assert found.headers == unknown.headers
        assert found.queries <= (name in {"-", "null"}), name


async def test_a_page_after_somebody_elses_job_is_the_page_after_none(shared: World) -> None:
    """F81: a cursor is an id too."""
    owner, stranger = fresh_email(), fresh_email()
    foreign = await job_of(shared, owner)
    await job_of(shared, stranger)

    async def page(world: World, who: dict[str, str], cursor: str) -> httpx.Response:
        return await world.http.get("/api/library", params={"cursor": cursor}, headers=who)

    who = shared.headers(stranger)
    assert await told(shared, page, who, foreign) == await told(shared, page, who, ABSENT)
