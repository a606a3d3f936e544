"""Leases, fences and late words: who may still change a job, and who may not."""

from dataclasses import replace
from typing import Any

import pytest

from service.adapters.rows import job_record
from service.domain.errors import DependencyDown
from service.domain.inbox import Delivery
from service.domain.job import JobError, Submission
from service.domain.policy import LOOKUPS_TO_PROVE_ABSENCE, MAX_FINALISE_ATTEMPTS
from service.domain.verdict import Broke, Missing, Refused, Unusable
from service.flows.conclude import Source, conclude
from service.flows.finalise import finalise
from service.flows.receive import handle
from service.flows.reconcile import sweep_once
from service.ports import Download, Services, StoredObject
from service.sandbox.object_store import ObjectStore
from tests.faults.steps import rendered, sweep_until
from tests.world import World, eventually, open_world


async def test_a_live_long_transfer_keeps_its_lease(s3: ObjectStore) -> None:
    """F46: the heartbeat prolongs it; nobody else gets in, and one attempt is enough."""
    async with open_world(s3, LEASE_S="0.3") as world:
        job_id = await rendered(world, "slow_file=60000,bytes=60000")

        assert await finalise(world.runtime.services, job_id, "me")

        job = await world.runtime.store.job(job_id)
        assert (job.fence, job.finalise_attempts) == (1, 1)
        assert (await world.audit()).violations == []


async def test_a_finaliser_that_lost_its_lease_stops_and_changes_nothing(
    s3: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    """F46: a higher fence is on the row, so the late finaliser gives up in the middle."""
    async with open_world(s3, LEASE_S="0.3") as world:
        job_id = await rendered(world, "slow_file=40000,bytes=40000")
        store = world.runtime.store

        async def overtake() -> None:
            await store.database.write("UPDATE $job SET fence += 1", job=job_record(job_id))

        bucket = _Watched(world.runtime.services, before_put=overtake)
        services = replace(world.runtime.services, bucket=bucket)
        assert not await finalise(services, job_id, "me")

        assert "lease lost" in caplog.text
        job = await store.job(job_id)
        assert (job.state.value, job.object_sha256) == ("rendered", None)
        await sweep_until(world, job_id, "ready")
        assert await world.money() == (60, 0, 40)
        assert (await world.audit()).violations == []


class _Watched:
    """The world's bucket, with something that happens before a video is put."""

    def __init__(self, services: Services, before_put: Any) -> None:
        self._bucket = services.bucket
        self._before_put = before_put

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    async def put_video(self, key: str, job_id: str, download: Download) -> StoredObject:
        await self._before_put()
        return await self._bucket.put_video(key, job_id, download)


async def test_a_store_that_refuses_us_makes_jobs_wait_and_blames_none(world: World) -> None:
    """F57: the attempt is not counted, nothing is parked, the reservation stays."""
    job_id = await rendered(world)

    async def refuse() -> None:
        raise DependencyDown("AccessDenied")

    services = replace(
        world.runtime.services, bucket=_Watched(world.runtime.services, before_put=refuse)
    )
    for _ in range(3):
        assert not await finalise(services, job_id, "me")

    job = await world.runtime.store.job(job_id)
    assert (job.state.value, job.parked, job.finalise_attempts) == ("rendered", False, 0)
    assert await finalise(world.runtime.services, job_id, "me"), "and then it goes on"
    assert (await world.audit()).violations == []


async def test_an_object_stored_by_a_dead_attempt_is_used_and_not_fetched_again(
    world: World,
) -> None:
    """F58: dead after the upload, before the settlement; one capture, one object."""
    job_id = await rendered(world)
    services = world.runtime.services
    job = await services.store.lease(job_id, "dead", lease_s=0.001)
    assert job is not None
    assert job.object_key is not None
    assert job.source_url is not None
    async with services.source.fetch(job.source_url) as download:
        await services.bucket.put_video(job.object_key, job_id, download)
    fetched = (await world.counts())["files"]

    async def heir() -> bool | None:
        return True if await finalise(services, job_id, "heir") else None

    await eventually(heir)
    assert (await world.counts())["files"] == fetched
    assert await world.money() == (60, 0, 40)
    assert (await world.audit()).violations == []


async def test_a_job_that_fails_too_often_is_parked_with_its_reservation(world: World) -> None:
    """F61, F74: attempts are counted before the work."""
    job_id = await rendered(world)
    await world.runtime.store.database.write(
        "UPDATE $job SET finalise_attempts = $n", job=job_record(job_id), n=MAX_FINALISE_ATTEMPTS
    )

    assert not await finalise(world.runtime.services, job_id, "me")

    job = await world.runtime.store.job(job_id)
    assert (job.parked, job.parked_reason) == (True, "finalisation was attempted too often")
    assert await world.money() == (60, 40, 0)
    assert (await world.audit()).violations == []


async def test_a_request_that_fal_lost_is_searched_for_and_then_parked(world: World) -> None:
    """Neither its queue nor its listing has it: a person must look, nothing is refunded."""
    await world.grant(100)
    await world.faults("drop,delay=600")
    job_id = await world.submit()
    await world.until_state(job_id, "submitted")
    await world.http.post(f"{world.sandbox.fal_url}/sandbox/reset")

    for _ in range(LOOKUPS_TO_PROVE_ABSENCE):
        await world.runtime.store.make_due(job_id)
        await sweep_once(world.runtime.services)

    job = await world.runtime.store.job(job_id)
    assert job.parked
    assert await world.money() == (60, 40, 0)
    assert (await world.audit()).violations == []


@pytest.mark.parametrize(
    "verdict",
    [Refused(JobError(code="x", message="x")), Broke("x"), Unusable("x"), Missing()],
    ids=lambda verdict: type(verdict).__name__,
)
async def test_late_words_about_an_earlier_attempt_do_not_touch_its_successor(
    world: World, verdict: Any
) -> None:
    """A refusal or a failure counts for the attempt under way only; a video would always."""
    await world.grant(100)
    await world.faults("submit_429=1,drop,delay=600")
    job_id = await world.submit()
    await sweep_until(world, job_id, "submitted")
    job = await world.runtime.store.job(job_id)
    assert job.submit_attempts == 2

    outcome = await conclude(
        world.runtime.services, job, Source(request_id="of-attempt-1", attempt=1), verdict
    )

    assert outcome == "superseded"
    after = await world.runtime.store.job(job_id)
    assert (after.state, after.parked, after.version) == (job.state, False, job.version)


async def test_a_refusal_does_not_undo_a_video_that_fal_has_made(world: World) -> None:
    """OK, then a refusal, in this order: the video stays."""
    job_id = await rendered(world)
    job = await world.runtime.store.job(job_id)
    assert job.submission is not None
    source = Source(request_id=job.submission.request_id, attempt=job.submit_attempts)

    refused = Refused(JobError(code="x", message="x"))
    assert await conclude(world.runtime.services, job, source, refused) == "refused"

    assert await finalise(world.runtime.services, job_id, "me")
    assert (await world.audit()).violations == []


async def test_a_signed_delivery_proves_the_submission_even_if_it_settles_nothing(
    world: World,
) -> None:
    """The answer to the POST was lost; an ERROR that says nothing still carries the request id."""
    await world.grant(100)
    await world.faults("submit_drop,drop,delay=600")
    job_id = await world.submit()
    await world.until_state(job_id, "submit_unknown")
    services = world.runtime.services
    request_id = (await world.requests())[0]["request_id"]
    delivery = Delivery(
        job_id=job_id,
        attempt=1,
        request_id=request_id,
        user_id="any",
        body=b'{"status": "ERROR", "error": "gateway hiccup", "payload": null}',
        stale=False,
    )
    await services.store.record_delivery(delivery, grace_s=0)

    assert await handle(services, delivery.entry_id)

    job = await services.store.job(job_id)
    assert job.state.value == "submitted"
    assert job.submission is not None
    assert job.submission.request_id == request_id
    assert (await world.counts())["submits"] == 1


async def test_a_request_proven_broken_is_not_revived_by_its_own_late_answer(
    world: World,
) -> None:
    """The webhook overtook the answer to the POST, and its request has ended broken already."""
    await world.grant(100)
    await world.faults("submit_429=1000")
    job_id = await world.submit()
    await world.until_state(job_id, "reserved")
    await world.quiet()
    store = world.runtime.store
    job = await store.begin_submission(job_id, grace_s=60, max_at_fal=100)
    assert job is not None
    assert await store.submission_void(job, "broke", retry_in_s=60, request_id="r1")

    late = Submission(request_id="r1")
    assert not await store.record_submission(job_id, job.submit_attempts, late, expected_s=60)

    assert (await store.job(job_id)).state.value == "reserved"


async def test_troubles_of_other_kinds_do_not_make_a_first_404_final(world: World) -> None:
    """Only answers that the file is gone count towards giving a video up."""
    job_id = await rendered(world, "gone")
    await world.runtime.store.database.write(
        "UPDATE $job SET finalise_attempts = 5", job=job_record(job_id)
    )

    assert not await finalise(world.runtime.services, job_id, "me")

    job = await world.runtime.store.job(job_id)
    assert (job.state.value, job.gone_attempts) == ("rendered", 1)
    assert await world.money() == (60, 40, 0)
