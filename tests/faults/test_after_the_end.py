"""What happens to a job that has its end: nothing, and everybody sees the end at once."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from service.domain.errors import Transient
from service.domain.job import Job, JobError, JobState
from service.domain.verdict import Broke, Missing, Refused, Unusable, Verdict
from service.flows.conclude import Source, conclude
from service.flows.finalise import finalise
from service.ports import Applied, Grounds, Services, Settled, StoredObject
from tests.faults.steps import accepted, rendered, sweep_now, until_fal_is_done
from tests.world import World

BROKEN = JobError(code="broken", message="Made up.")


class _Failing:
    """The world's store, failing right after a settlement."""

    def __init__(self, services: Services, error: Exception) -> None:
        self._store = services.store
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def settle_ready(self, job_id: str, fence: int, stored: StoredObject) -> Settled:
        await self._store.settle_ready(job_id, fence, stored)
        raise self._error


@pytest.mark.parametrize(
    "error", [Transient("no answer"), RuntimeError("a bug")], ids=["no answer", "a bug"]
)
async def test_an_error_after_the_capture_releases_nothing(world: World, error: Exception) -> None:
    """F65: the capture stands; every way to a release is refused, and the video stays."""
    job_id = await rendered(world)
    services = replace(world.runtime.services, store=_Failing(world.runtime.services, error))
    if isinstance(error, Transient):
        assert not await finalise(services, job_id, "me")
    else:
        with pytest.raises(RuntimeError):
            await finalise(services, job_id, "me")
    job = await world.runtime.store.job(job_id)
    assert job.state is JobState.READY
    await _every_way_to_a_release(world, job)
    for _ in range(2):
        await sweep_now(world, job_id)

    assert (await world.runtime.store.job(job_id)).version == job.version
    assert await world.money() == (60, 0, 40)
    kinds = await world.runtime.store.database.read(
        "SELECT VALUE kind FROM ledger WHERE job != NONE ORDER BY at"
    )
    assert kinds == ["reserve", "capture"]
    assert (await world.audit()).violations == []


async def _every_way_to_a_release(world: World, job: Job) -> None:
    store = world.runtime.store
    grounds = [
        Grounds(),
        Grounds(attempt=job.submit_attempts),
        Grounds(fence=job.fence),
        Grounds(fence=job.fence, attempt=job.submit_attempts),
    ]
    for to in (JobState.FAILED, JobState.CANCELLED):
        for each in grounds:
            assert await store.close_unfilled(job.id, to, BROKEN, each) is Applied.REFUSED
    assert job.submission is not None
    source = Source(request_id=job.submission.request_id, attempt=job.submit_attempts)
    words: list[Verdict] = [Refused(BROKEN), Broke("x"), Unusable("x"), Missing()]
    for verdict in words:
        await conclude(world.runtime.services, job, source, verdict)
    assert not await store.submission_void(job, "x", retry_in_s=0)
    assert not await store.park(job, "x")


async def ask(world: World, job_id: str, tag: str | None = None) -> httpx.Response:
    headers = world.headers() | ({} if tag is None else {"If-None-Match": tag})
    answer = await world.http.get(
        "/api/templates/video/status", params={"jobId": job_id}, headers=headers
    )
    assert answer.status_code in {200, 304}
    return answer


async def ready(world: World, job_id: str) -> None:
    await sweep_now(world, job_id)


async def failed(world: World, job_id: str) -> None:
    await world.runtime.store.close_unfilled(job_id, JobState.FAILED, BROKEN, Grounds())


@pytest.mark.parametrize(("end", "status"), [(ready, "completed"), (failed, "failed")])
async def test_no_etag_hides_an_end_that_was_committed_while_the_status_was_read(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[World, str], Awaitable[None]],
    status: str,
) -> None:
    """F78: read, commit, answer, in this order; the next look shows the end all the same."""
    job_id = await accepted(world, "drop")
    await until_fal_is_done(world)
    store = world.runtime.store
    real, between = store.job, [end]

    async def read_then_commit(name: str) -> Job:
        row = await real(name)
        if between:
            await between.pop()(world, name)
        return row

    first = (await ask(world, job_id)).headers["etag"]
    monkeypatch.setattr(store, "job", read_then_commit)
    overtaken = await ask(world, job_id, first)
    assert overtaken.status_code == 304, "it was read before the end was committed"

    known = {first, overtaken.headers["etag"]}
    last = set()
    for tag in known:
        shown = await ask(world, job_id, tag)
        assert (shown.status_code, shown.json()["status"]) == (200, status)
        last.add(shown.headers["etag"])
    (tag,) = last
    assert tag not in known
    assert (await ask(world, job_id, tag)).status_code == 304
