"""Webhooks that never come, looks that find nothing, and many jobs due at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import pytest

from service.adapters import fal as fal_adapter
from service.adapters.rows import job_record
from service.commands.local import free_port
from service.domain.job import Submission
from service.domain.policy import SWEEP_BATCH, SWEEP_CONCURRENCY
from service.domain.verdict import Pending, Verdict
from service.flows.reconcile import sweep_once
from service.ports import Services
from service.sandbox.object_store import ObjectStore
from service.worker import running_reconciler
from tests.faults.steps import accepted, sweep_now, until_fal_is_done
from tests.store import bench
from tests.web.raw_fal import raw_fal
from tests.world import World, eventually, open_world

LOST: Final = 60
BATCH_S: Final = 120.0  # for all of them; a few seconds on an idle machine
SWEEPERS: Final = 8
DUE: Final = 300


class Gauge:
    """fal as the service sees it: how often it is asked, and how often at the same time.

    With a `verdict` it answers that itself, for tests in which only the number of calls counts.
    """

    def __init__(self, services: Services, verdict: Verdict | None = None) -> None:
        self._fal = services.fal
        self._verdict = verdict
        self._now = 0
        self.most = 0
        self.checks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fal, name)

    async def check(self, *asked: Any) -> Verdict:
        self.checks += 1
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(0)
            return self._verdict or await self._fal.check(*asked)
        finally:
            self._now -= 1


async def test_a_batch_that_fal_finished_while_we_were_down_is_finished_at_a_bounded_rate(
    world: World,
) -> None:
    """F44: fal has given up on all webhooks; the first sweeps after the start ask for each once."""
    submission = await rendered_request(world)
    store = world.runtime.store
    owner = "batch@example.com"
    await world.grant(bench.PRICE * LOST, owner)
    for n in range(LOST):
        new = bench.new_job(f"lost{n}", email=owner, object_key=f"lost/{n}-{submission.request_id}")
        await store.reserve(new, max_in_flight=LOST, grace_s=600)
        await store.begin_submission(new.id, grace_s=600, max_at_fal=100)
        await store.record_submission(new.id, 1, submission, expected_s=600)
    await store.database.write(
        "UPDATE video_job SET due = time::now() - 3h, submitted_at = time::now() - 4h"
        " WHERE state = 'submitted'"
    )
    before, fal = await world.counts(), Gauge(world.runtime.services)
    services = replace(world.runtime.services, fal=fal)

    async with running_reconciler(services, interval_s=600):
        await eventually(lambda: none_in(world, "submitted"), BATCH_S)
        # A sweep that is ended between noting a render and nudging leaves it to the next one.
        await eventually(lambda: none_in(world, "rendered"), BATCH_S)

    assert fal.checks == LOST > SWEEP_BATCH, "more than one batch, each job asked about once"
    assert 1 < fal.most <= SWEEP_CONCURRENCY
    after = await world.counts()
    asked = {name: after[name] - before[name] for name in ("submits", "statuses", "results")}
    assert asked == {"submits": 0, "statuses": LOST, "results": LOST}
    assert await world.money(owner) == (0, 0, bench.PRICE * LOST)
    assert (await world.audit()).violations == []


async def rendered_request(world: World) -> Submission:
    """A request that fal has finished. Jobs of a batch may share it: each fetches its own copy."""
    job_id = await accepted(world, "drop")
    await until_fal_is_done(world)
    await sweep_now(world, job_id)
    job = await world.runtime.store.job(job_id)
    assert job.submission is not None
    return job.submission


async def none_in(world: World, state: str) -> bool | None:
    left = await world.runtime.store.database.read(
        "SELECT VALUE id FROM video_job WHERE state = $state", state=state
    )
    return None if left else True


async def test_eight_sweepers_ask_about_each_of_three_hundred_due_jobs_once(world: World) -> None:
    """F47: whoever takes a job puts it off for the others; fal's calls are not multiplied."""
    job_id = await accepted(world, "drop,delay=600")
    await world.runtime.store.database.write(
        "{ LET $row = (SELECT * OMIT id FROM ONLY $job);"
        " FOR $n IN 1..$copies"
        " { CREATE type::record('video_job', 'copy' + <string>$n) CONTENT $row };"
        " UPDATE video_job SET due = time::now() - 1s; }",
        job=job_record(job_id),
        copies=DUE,
    )
    fal = Gauge(world.runtime.services, Pending("IN_PROGRESS"))
    services = replace(world.runtime.services, fal=fal)

    async def sweeper() -> int:
        looked_at = 0
        for _ in range(2 * DUE // SWEEP_BATCH):
            sweep = await sweep_once(services)
            assert sweep.problems == 0
            looked_at += sweep.jobs
        return looked_at

    shares = await asyncio.gather(*(sweeper() for _ in range(SWEEPERS)))

    assert sum(shares) == DUE
    assert sorted(shares)[-2] > 0, "they shared the work"
    assert fal.checks == DUE


async def test_a_job_that_renders_for_hours_keeps_its_reservation(world: World) -> None:
    """F63: no age of a job says anything about its video; only fal does."""
    job_id = await accepted(world, "drop,delay=600")
    job = job_record(job_id)
    database = world.runtime.store.database
    row = await database.read("SELECT * OMIT id FROM ONLY $job", job=job)
    await database.write("DELETE $job", job=job)  # created_at is read-only: it is written anew
    await database.write(
        "CREATE $job CONTENT object::extend($row, { created_at: time::now() - 3h,"
        " updated_at: time::now() - 3h, attempted_at: time::now() - 3h,"
        " submitted_at: time::now() - 3h })",
        job=job,
        row=row,
    )
    before = await world.runtime.store.job(job_id)
    assert (before.read_at - before.created_at).total_seconds() > 3 * 3600 - 1

    for _ in range(6):
        await sweep_now(world, job_id)

    after = await world.runtime.store.job(job_id)
    assert (after.state.value, after.parked, after.error) == ("submitted", False, None)
    assert await world.money() == (60, 40, 0)
    assert (await world.counts())["submits"] == 1
    assert (await world.audit()).violations == []


@asynccontextmanager
async def silent_fal(world: World) -> AsyncIterator[Services]:
    """The services with a fal that takes every question and never answers."""
    async with raw_fal() as (raw, fal):
        raw.behave = lambda exchange: exchange.hang()
        yield replace(world.runtime.services, fal=fal)


async def test_a_status_that_never_answers_is_no_failure_of_the_job(world: World) -> None:
    """F64: given up after its time and asked again later; the job waits, its credits too."""
    job_id = await accepted(world, "drop")
    await until_fal_is_done(world)
    async with silent_fal(world) as services:
        with pytest.MonkeyPatch.context() as impatient:
            impatient.setattr(fal_adapter, "READ_TIMEOUT_S", 0.1)
            for _ in range(3):
                await world.runtime.store.make_due(job_id)
                assert (await sweep_once(services)).problems == 1
    job = await world.runtime.store.job(job_id)
    assert (job.state.value, job.parked) == ("submitted", False)
    assert await world.money() == (60, 40, 0)
    assert (await world.audit()).violations == []

    await sweep_now(world, job_id)
    assert (await world.runtime.store.job(job_id)).state.value == "ready"
    assert await world.money() == (60, 0, 40)


async def test_a_webhook_address_where_nobody_listens_costs_time_and_no_video(
    s3: ObjectStore,
) -> None:
    """What still works when PUBLIC_BASE_URL is wrong: the reconciler needs no webhook."""
    elsewhere = f"http://127.0.0.1:{free_port()}"
    async with open_world(s3, PUBLIC_BASE_URL=elsewhere) as world:
        job_id = await accepted(world, "bytes=20000")

        async def refused() -> bool | None:
            (request,) = await world.requests()
            return bool([each for each in request["deliveries"] if each["error"]]) or None

        await eventually(refused)
        await sweep_now(world, job_id)
        assert (await world.runtime.store.job(job_id)).state.value == "ready"
        assert await world.money() == (60, 0, 40)
