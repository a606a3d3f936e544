"""Push: a job's changes reach whoever waits, from a row that is read for all of them at once."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise
from typing import cast

import httpx
import pytest

from service.adapters.rows import job_record
from service.domain.errors import Transient
from service.ports import Store
from service.sandbox.object_store import ObjectStore
from service.web import events
from service.web import watching as watching_module
from service.web.streams import MAX_PER_OWNER
from service.web.watching import TASK, Closed, Watcher
from tests.web.deliveries import SILENT, silent_job
from tests.web.forms import check_problem, fresh_email
from tests.web.push import EVENTS, Flaky, watching
from tests.world import World, eventually, open_world

on_shared = pytest.mark.asyncio(loop_scope="package")

STATUS = "/api/templates/video/status"
NEVER_S = 3600.0


async def silent(world: World) -> tuple[str, str]:
    """A job that fal says nothing about, and its owner."""
    email = fresh_email()
    await world.grant(100, email)
    job_id = await world.submit(email=email, brand=SILENT)
    await world.until_state(job_id, "submitted")
    await world.quiet()
    return job_id, email


async def changed_elsewhere(world: World, job_id: str, state: str = "rendered") -> None:
    """As another process would: nobody here is told."""
    await world.runtime.store.database.write(
        "UPDATE $job SET state = $state, version += 1, due = NONE",
        job=job_record(job_id),
        state=state,
    )


async def wait_for(
    world: World, job_id: str, email: str, wait_s: object, tag: str = ""
) -> httpx.Response:
    return await world.http.get(
        STATUS,
        params={"jobId": job_id, "wait": str(wait_s)},
        headers=world.headers(email) | ({"If-None-Match": tag} if tag else {}),
    )


async def tag_of(world: World, job_id: str, email: str) -> str:
    answer = await world.http.get(STATUS, params={"jobId": job_id}, headers=world.headers(email))
    tag: str = answer.headers["etag"]
    return tag


@on_shared
async def test_a_stream_tells_the_status_now_and_every_change_and_ends_with_the_last(
    shared: World,
) -> None:
    email = fresh_email()
    await shared.grant(100, email)
    job_id = await shared.submit(email=email)
    async with watching(shared, job_id, email) as stream:
        told = await stream.rest()
    assert told[-1]["status"] == "completed"
    assert told[-1]["url"]
    assert all(one["version"] < next_["version"] for one, next_ in pairwise(told))
    assert not any(each["url"] for each in told[:-1])
    # Somebody who has seen the end is told that there is nothing more, for good.
    again = await shared.http.get(
        EVENTS,
        params={"jobId": job_id},
        headers=shared.headers(email) | {"Last-Event-ID": str(told[-1]["version"])},
    )
    assert (again.status_code, again.content) == (204, b"")
    async with watching(shared, job_id, email, **{"Last-Event-ID": "1"}) as stream:
        assert [each["status"] for each in await stream.rest()] == ["completed"]


@on_shared
async def test_what_this_process_does_is_pushed_without_waiting_for_a_look(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_module, "LOOK_EVERY_S", NEVER_S)
    email = fresh_email()
    await shared.grant(100, email)
    job_id = await shared.submit(email=email, brand="Acme #sandbox:delay=0.3")
    async with watching(shared, job_id, email) as stream:
        told = await stream.rest()
    assert told[-1]["status"] == "completed"


@on_shared
async def test_what_another_process_does_is_seen_at_the_next_look(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F77: no notification at all; the versioned row is the truth, and it is looked at."""
    monkeypatch.setattr(watching_module, "LOOK_EVERY_S", 0.05)
    job_id, email = await silent(shared)
    async with watching(shared, job_id, email) as stream:
        first = await stream.next()
        assert first is not None
        await changed_elsewhere(shared, job_id)
        second = await stream.next()
    assert second is not None
    assert (second["version"], second["progress"]) == (first["version"] + 1, 90)


@on_shared
async def test_a_client_that_names_a_version_is_told_only_what_is_newer(shared: World) -> None:
    job_id, email = await silent(shared)
    version = (await shared.status(job_id, email))["version"]
    async with watching(shared, job_id, email, **{"Last-Event-ID": str(version)}) as stream:
        await changed_elsewhere(shared, job_id)
        told = await stream.next()
    assert told is not None
    assert told["version"] == version + 1


@on_shared
async def test_a_job_that_stands_still_is_heard_of_all_the_same(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.2)
    email = fresh_email()
    await shared.grant(100, email)
    order = {"templateSlug": "night-life-roller", "variables": {"BRAND": SILENT}}
    # No video of this length is ever finished here, so the estimate is the provider's own.
    job_id = await shared.submit(email=email, data=order | {"duration": 12})
    await shared.until_state(job_id, "submitted")
    async with watching(shared, job_id, email) as stream:
        estimates = [await stream.next() for _ in range(3)]
    assert stream.comments >= 1
    seconds = [each["etaSeconds"] for each in estimates if each]
    assert len({each["version"] for each in estimates if each}) == 1
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > seconds[-1]


@on_shared
async def test_all_who_wait_cost_one_read_at_each_look(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_s = 0.05
    jobs = [await silent(shared) for _ in range(3)]
    async with AsyncExitStack() as stack:
        for job_id, email in jobs * 10:
            await stack.enter_async_context(watching(shared, job_id, email))
        assert streams(shared) == 30
        monkeypatch.setattr(watching_module, "LOOK_EVERY_S", look_s)
        database = shared.runtime.store.database
        start, before = database.calls, time.monotonic()
        await eventually(lambda: later(database.calls >= start + 20))
        assert database.calls - start <= (time.monotonic() - before) / look_s + 2


async def later(condition: object) -> bool | None:
    return True if condition else None


@on_shared
async def test_an_owner_may_hold_so_many_streams_and_no_more(shared: World) -> None:
    job_id, email = await silent(shared)
    other_job, other = await silent(shared)
    params, headers = {"jobId": job_id}, shared.headers(email)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        stream = await first.enter_async_context(watching(shared, job_id, email))
        assert await stream.next()
        for _ in range(MAX_PER_OWNER - 1):
            await stack.enter_async_context(watching(shared, job_id, email))
        refused = await shared.http.get(EVENTS, params=params, headers=headers)
        check_problem(refused, 429, "too_many_streams")
        assert int(refused.headers["retry-after"]) > 0
        tag = await tag_of(shared, job_id, email)
        check_problem(await wait_for(shared, job_id, email, 5, tag), 429, "too_many_streams")
        assert (await shared.status(job_id, email))["status"] == "processing"
        await stack.enter_async_context(watching(shared, other_job, other))
        await first.aclose()

        async def room() -> bool | None:
            async with shared.http.stream("GET", EVENTS, params=params, headers=headers) as answer:
                return answer.is_success or None

        await eventually(room)


@on_shared
@pytest.mark.parametrize("sign_in", [True, False], ids=["foreign", "nobody"])
async def test_a_stream_is_for_the_owner_alone(shared: World, sign_in: bool) -> None:  # noqa: FBT001
    job_id, _ = await silent(shared)
    headers = shared.headers(fresh_email()) if sign_in else {}
    answer = await shared.http.get(EVENTS, params={"jobId": job_id}, headers=headers)
    check_problem(answer, *((404, "not_found") if sign_in else (401, "sign_in_required")))


@on_shared
async def test_a_read_that_waits_is_answered_when_the_job_changes(shared: World) -> None:
    job_id, email = await silent(shared)
    tag = await tag_of(shared, job_id, email)
    waiting = asyncio.create_task(wait_for(shared, job_id, email, 20, tag))
    await eventually(lambda: later(streams(shared) == 1))
    await changed_elsewhere(shared, job_id)
    answer = await waiting
    assert (answer.status_code, answer.json()["progress"]) == (200, 90)
    assert answer.headers["etag"] != tag


@on_shared
async def test_a_read_that_waits_in_vain_answers_with_what_is_true_now(shared: World) -> None:
    job_id, email = await silent(shared)
    tag = await tag_of(shared, job_id, email)
    before = time.monotonic()
    answer = await wait_for(shared, job_id, email, 1, tag)
    assert time.monotonic() - before >= 1
    assert answer.status_code in {200, 304}  # the estimate may have moved on
    assert answer.headers["etag"].split("-")[0] == tag.split("-")[0]


@on_shared
async def test_nobody_waits_for_what_they_have_not_seen_or_what_will_not_come(
    shared: World,
) -> None:
    job_id, email = await silent(shared)
    async with asyncio.timeout(15):  # less than the wait that is asked for
        assert (await wait_for(shared, job_id, email, 25)).status_code == 200
        old = await tag_of(shared, job_id, email)
        await changed_elsewhere(shared, job_id, "ready")
        assert (await wait_for(shared, job_id, email, 25, old)).status_code == 200
        tag = await tag_of(shared, job_id, email)
        assert (await wait_for(shared, job_id, email, 25, tag)).status_code == 304


@on_shared
async def test_a_job_that_is_deleted_meanwhile_is_said_to_be_none(shared: World) -> None:
    job_id, email = await silent(shared)
    tag = await tag_of(shared, job_id, email)
    waiting = asyncio.create_task(wait_for(shared, job_id, email, 20, tag))
    async with watching(shared, job_id, email) as stream:
        assert await stream.next()
        await eventually(lambda: later(streams(shared) == 2))
        await shared.runtime.store.database.write(
            "UPDATE $job SET state = 'cancelled', version += 2, due = NONE,"
            " deleted_at = time::now(), purged_at = time::now()",
            job=job_record(job_id),
        )
        assert await stream.rest() == []
    check_problem(await waiting, 404, "not_found")


@on_shared
@pytest.mark.parametrize("wait_s", ["26", "-1", "x", "1.5", "999"])
async def test_a_bad_wait_is_422_naming_it(shared: World, wait_s: str) -> None:
    job_id, email = await silent(shared)
    found = check_problem(await wait_for(shared, job_id, email, wait_s), 422, "invalid_request")
    assert [each["field"] for each in found["errors"]] == ["wait"]


def streams(world: World) -> int:
    open_now: int = len(world.app.state.streams)
    return open_now


async def test_a_stop_ends_streams_and_waits_in_order(s3: ObjectStore) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(open_world(s3))
        await world.grant(100)
        job_id = (await silent_job(world)).job_id
        email = "ana@example.com"
        async with httpx.AsyncClient(base_url=world.http.base_url, trust_env=False) as http:
            outside = World(sandbox=world.sandbox, runtime=world.runtime, http=http, app=world.app)
            tag = await tag_of(outside, job_id, email)
            waiting = asyncio.create_task(wait_for(outside, job_id, email, 25, tag))
            async with watching(outside, job_id, email) as stream:
                assert await stream.next()
                await eventually(lambda: later(streams(world) == 2))
                closing = asyncio.create_task(stack.aclose())
                assert await stream.rest() == []
                assert (await waiting).status_code in {200, 304}
            await closing
    assert streams(world) == 0


@on_shared
async def test_a_look_that_fails_makes_nobody_wait_for_longer_than_the_next(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_module, "LOOK_EVERY_S", 0.02)
    job_id, _ = await silent(shared)
    job = await shared.runtime.store.job(job_id)
    store = Flaky(replace(job, version=job.version + 1))
    store.failures = [Transient("away"), RuntimeError("a bug")]
    watcher = Watcher(cast("Store", store))
    with watcher.watch(job) as watch:
        told = await watch.next(10)
    assert told is store.job
    assert store.looks == 3


def looking() -> list[str]:
    """Who looks at watched jobs in this loop."""
    return [each.get_name() for each in asyncio.all_tasks() if each.get_name() == TASK]


@on_shared
async def test_nothing_is_looked_at_while_nobody_waits(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_module, "LOOK_EVERY_S", 0.02)
    job_id, _ = await silent(shared)
    job = await shared.runtime.store.job(job_id)
    store = Flaky(job)
    watcher = Watcher(cast("Store", store))
    for _ in range(2):  # and it begins again for the next one
        looks = store.looks
        with watcher.watch(job) as watch:
            assert looking()
            assert await watch.next(0.1) is None
        assert store.looks > looks
        await eventually(lambda: later(not looking()))
    watcher.poke(job_id)
    watcher.close()
    with pytest.raises(Closed), watcher.watch(job):
        pass
