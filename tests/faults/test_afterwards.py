"""What fails after the money changes nothing about it: the video stays ready, and charged once."""

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import pytest

from service.adapters import poster as poster_adapter
from service.adapters.poster import FramePoster, PosterLimits
from service.adapters.s3_calls import StorageRefused
from service.domain.errors import NotAVideo, Transient
from service.domain.job import JobState
from service.domain.policy import POSTER_RETRY_S
from service.domain.seal import poster_key
from service.flows.afterwards import afterwards
from service.flows.reconcile import sweep_once
from service.ports import Bucket, Poster, Services, Store
from service.worker import Nudges, running_worker
from tests.faults.test_orphans import searched
from tests.world import World

JPEG: Final = b"\xff\xd8\xff and a picture"
CRASHES: Final = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
HANGS: Final = "import time; time.sleep(60)"
SMALL: Final = PosterLimits(memory_bytes=16 * 1024 * 1024)
HASTY: Final = PosterLimits(wall_s=0.1)


class Painter:
    """ports.Poster: reads the video to its end, and has a picture ready, or this error."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def make(self, video: AsyncIterator[bytes]) -> bytes:
        async for _ in video:
            pass
        if self._error is not None:
            raise self._error
        return JPEG


class Died(BaseException):
    """The process is gone: nothing after this has happened."""


class Dying:
    """A port that kills its process at one call of all, before it or after."""

    def __init__(self, real: Any, calls: list[str], at: int) -> None:
        self._real, self._calls, self._at = real, calls, at

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not inspect.iscoroutinefunction(real):
            return real

        async def call(*args: Any, **named: Any) -> Any:
            self._step(f"{name}·b")
            answer = await real(*args, **named)
            self._step(f"{name}·a")
            return answer

        return call

    def _step(self, point: str) -> None:
        self._calls.append(point)
        if len(self._calls) == self._at:
            raise Died


class Refusing:
    """A bucket that takes no more pictures."""

    def __init__(self, real: Bucket) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def put_image(self, *_: object) -> None:
        raise StorageRefused("PutObject", "AccessDenied", 403)


def with_poster(world: World, poster: Poster | None = None) -> Services:
    return replace(world.runtime.services, poster=poster or Painter())


def dying(world: World, calls: list[str], at: int) -> Services:
    services = with_poster(world)
    return replace(
        services,
        store=cast("Store", Dying(services.store, calls, at)),
        bucket=cast("Bucket", Dying(services.bucket, calls, at)),
        poster=cast("Poster", Dying(services.poster, calls, at)),
    )


async def finished(world: World) -> str:
    """A ready job whose process died right after the settlement."""
    await world.grant(100)
    job_id = await world.submit()
    await world.until(job_id, "completed")
    await world.quiet()
    await as_if_new(world)
    return job_id


async def as_if_new(world: World) -> None:
    await world.runtime.store.database.write(
        "UPDATE video_job SET thumbnail_key = NONE, thumbnail_attempts = NONE,"
        " thumbnail_due = time::now()"
    )


@asynccontextmanager
async def another_process(services: Services) -> AsyncIterator[tuple[Services, Nudges]]:
    nudges = Nudges()
    async with running_worker(services, nudges, "another"):
        yield replace(services, nudge=nudges), nudges


async def swept(world: World, services: Services) -> None:
    """A sweep of another process once everything is due, and the work that follows."""
    await world.time_passes()
    async with another_process(services) as (its, nudges):
        await sweep_once(its)
        await nudges.quiet()


async def assert_untouched(world: World, job_id: str) -> None:
    """Ready, charged once, playable, and in order by every account."""
    view = await world.status(job_id)
    assert (view["status"], view["progress"], view["credits"]) == ("completed", 100, 40)
    assert await world.money() == (60, 0, 40)
    video = await world.http.get(view["url"], headers={"Range": "bytes=4-7"})
    assert video.content == b"ftyp"
    assert (await world.audit()).violations == []
    kinds = [each.kind.value for each in await world.runtime.store.job_ledger(job_id)]
    assert sorted(kinds) == ["capture", "reserve"]


@pytest.mark.parametrize(
    ("program", "limits"),
    [(CRASHES, PosterLimits()), (HANGS, HASTY), (None, SMALL)],
    ids=["crashes", "hangs", "has no memory"],
)
async def test_a_decoder_that_fails_costs_a_thumbnail_and_nothing_else(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    program: str | None,
    limits: PosterLimits,
) -> None:
    """F62: a child that crashes, hangs or is out of memory."""
    if program is not None:
        (tmp_path / "instead.py").write_text(program, "utf-8")
        monkeypatch.setattr(poster_adapter, "PROGRAM", tmp_path / "instead.py")
    job_id = await finished(world)
    before = await world.status(job_id)
    assert not await afterwards(with_poster(world, FramePoster(limits)), job_id)
    after = await world.status(job_id)
    assert (after["thumbnailUrl"], after["version"]) == (None, before["version"])
    await assert_untouched(world, job_id)


async def test_a_store_that_takes_no_thumbnail_keeps_the_video_and_pauses_nothing(
    world: World,
) -> None:
    """F62: refused three times, it is given up; finalising goes on meanwhile."""
    job_id = await finished(world)
    refused = replace(
        with_poster(world), bucket=cast("Bucket", Refusing(world.runtime.services.bucket))
    )
    for _ in POSTER_RETRY_S:
        await swept(world, refused)
        await assert_untouched(world, job_id)
    job = await world.runtime.store.job(job_id)
    assert (job.thumbnail_attempts, job.thumbnail_key) == (len(POSTER_RETRY_S), None)
    assert await world.runtime.store.pauses() == []
    await swept(world, with_poster(world))
    assert (await world.status(job_id))["thumbnailUrl"] is None, "it has had its attempts"


@pytest.mark.parametrize(
    ("error", "attempts"), [(NotAVideo("none"), 1), (Transient("away"), len(POSTER_RETRY_S))]
)
async def test_what_another_try_will_not_mend_is_tried_once(
    world: World, error: Exception, attempts: int
) -> None:
    """F62: and what it might, a few times."""
    job_id = await finished(world)
    for _ in range(len(POSTER_RETRY_S) + 1):
        await swept(world, with_poster(world, Painter(error)))
    assert (await world.runtime.store.job(job_id)).thumbnail_attempts == attempts
    await assert_untouched(world, job_id)


async def test_wherever_its_process_dies_the_sweep_makes_the_thumbnail(world: World) -> None:
    """F62: at every call of the way; the video is as ready as before, at every instant."""
    job_id = await finished(world)
    calls: list[str] = []
    for at in range(1, 30):
        await as_if_new(world)
        calls.clear()
        try:
            await afterwards(dying(world, calls, at), job_id)
        except Died:
            await assert_untouched(world, job_id)
            await swept(world, with_poster(world))
            assert (await world.status(job_id))["thumbnailUrl"] is not None, calls
        else:
            break
    assert [each for each in calls if each.endswith("a")] == [
        "begin_afterwards·a",
        "note_render_time·a",
        "make·a",
        "put_image·a",
        "set_thumbnail·a",
    ]
    await assert_untouched(world, job_id)


async def test_watchers_are_told_of_a_thumbnail_by_a_version(world: World) -> None:
    job_id = await finished(world)
    before = await world.status(job_id)
    assert await afterwards(with_poster(world), job_id)
    after = await world.status(job_id)
    assert (before["thumbnailUrl"], after["version"]) == (None, before["version"] + 1)
    picture = await world.http.get(after["thumbnailUrl"])
    assert picture.content == JPEG
    assert picture.headers["content-type"] == "image/jpeg"
    assert "immutable" in picture.headers["cache-control"]
    assert not await afterwards(with_poster(world), job_id), "a repeat has nothing to do"
    assert (await world.status(job_id))["version"] == after["version"]


async def test_a_video_that_is_too_large_for_a_thumbnail_is_not_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.flows.afterwards.MAX_POSTER_SOURCE_BYTES", 10)
    job_id = await finished(world)
    assert not await afterwards(with_poster(world, Painter(AssertionError("read"))), job_id)
    await swept(world, with_poster(world))
    assert (await world.runtime.store.job(job_id)).thumbnail_attempts == 1
    await assert_untouched(world, job_id)


async def test_a_video_deleted_meanwhile_leaves_no_thumbnail(world: World) -> None:
    """F70: deleted and purged while the frame was being taken."""
    job_id = await finished(world)
    job = await world.runtime.store.job(job_id)
    key = poster_key(job.object_key or "")

    class Slow(Painter):
        async def make(self, video: AsyncIterator[bytes]) -> bytes:
            picture = await super().make(video)
            gone = await world.http.delete(f"/api/library/{job_id}", headers=world.headers())
            assert gone.status_code == 204, gone.text
            await world.quiet()
            return picture

    assert not await afterwards(with_poster(world, Slow()), job_id)
    url = world.runtime.services.bucket.url(key, 60)
    assert (await world.http.get(url)).is_success, "it was stored after the purge"
    await world.sweep()
    assert not (await world.http.get(url)).is_success
    assert (await world.runtime.store.job(job_id)).thumbnail_key is None
    assert (await world.audit()).violations == []


async def test_the_audit_knows_whose_thumbnail_it_is(world: World) -> None:
    """One that its job names or is about to name is no orphan; one that nobody names is."""
    job_id = await finished(world)
    job = await world.runtime.store.job(job_id)
    key = poster_key(job.object_key or "")
    nobodys = key.replace(job_id, "nobodys")
    put = world.runtime.services.bucket.put_image
    await put(key, JPEG, "image/jpeg")
    await put(nobodys, JPEG, "image/jpeg")
    assert await orphans(world, key, nobodys) == {nobodys}, "its process may come to naming it"
    await afterwards(with_poster(world), job_id)
    assert await orphans(world, key, nobodys) == {nobodys}
    await as_if_new(world)
    await world.runtime.store.drop_thumbnail(job_id)
    assert await orphans(world, key, nobodys) == {key, nobodys}


async def orphans(world: World, *keys: str) -> set[str]:
    """Those of these keys that the audit says belong to nobody."""
    return {each.subject for each in (await searched(world)).violations} & set(keys)


async def test_what_the_latest_renders_took_is_shown_of_the_next(world: World) -> None:
    """The setting decides when fal is asked, and not what people are told."""
    await finished(world)
    first = (await world.runtime.store.jobs("ana@example.com", before=None, limit=1))[0]
    assert first.usual_render_s is None
    assert await world.runtime.store.render_times(first.fal_model or "", first.duration_s) == [1]
    for seconds in (400, 500, 3000):
        await world.runtime.store.note_render_time(first.fal_model or "", first.duration_s, seconds)
    await world.faults("delay=1000,drop")
    await world.grant(100)
    job = await world.until_state(await world.submit(), JobState.SUBMITTED.value)
    assert (job.usual_render_s, job.expected_render_s) == (450, first.expected_render_s)
    view = await world.status(job.id)
    assert 400 < view["etaSeconds"] <= 450
    assert 5 <= view["progress"] < 20


async def test_a_history_that_cannot_be_written_or_read_stops_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F62: the thumbnail is made and the next order taken all the same."""

    async def away(*_: object) -> Any:
        raise Transient("away")

    job_id = await finished(world)
    monkeypatch.setattr(world.runtime.store, "note_render_time", away)
    monkeypatch.setattr(world.runtime.store, "render_times", away)
    assert await afterwards(with_poster(world), job_id)
    await assert_untouched(world, job_id)
    assert (await world.post()).status_code == 202
