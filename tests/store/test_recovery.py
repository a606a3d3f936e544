"""Videos that nobody expected any more: recovered into a job of their own, or written off."""

import asyncio
import dataclasses

import pytest

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.store import SurrealStore
from service.domain.job import FINAL, IfFinished, JobState, Status
from service.domain.write_offs import Reason
from service.flows.audit import audit
from service.ports import Applied, Recovered, Settled
from tests.store import bench
from tests.store.bench import BROKEN, OWNER, PRICE, job_in

OTHER = "another-request"
ENDINGS = (JobState.FAILED, JobState.CANCELLED)
OF_THE_ORDER = (
    "email",
    "template_id",
    "provider",
    "fal_model",
    "arguments",
    "duration_s",
    "credits",
    "expected_render_s",
    "start_image_key",
)


async def jobs(store: SurrealStore) -> int:
    return int(await store.database.read("RETURN count(SELECT VALUE id FROM video_job)"))


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_late_video_gets_a_job_of_its_own_reserved_and_rendered(
    store: SurrealStore, ending: JobState
) -> None:
    job = await job_in(store, ending)
    assert await bench.recover(store, job) is Recovered.RECOVERED
    found = await store.job(bench.successor(job.id).job_id)
    for name in OF_THE_ORDER:
        assert getattr(found, name) == getattr(job, name), name
    assert (found.state, found.recovers) == (JobState.RENDERED, job.id)
    assert found.submission is not None
    assert found.submission.request_id == bench.request_of(job.id)
    assert found.source_url is not None
    assert found.object_key == bench.successor(job.id).object_key
    assert await bench.credits_of(store) == (0, PRICE, 0, PRICE)
    assert await bench.violations(store) == [], "it is due, and its reservation is in the ledger"

    assert await bench.settle(store, await bench.leased(store, found.id)) is Settled.SETTLED
    assert await bench.credits_of(store) == (0, 0, PRICE, PRICE)
    assert await bench.ledger_kinds(store) == ["capture", "grant", "release", "reserve", "reserve"]
    assert await bench.violations(store) == []


async def test_the_ended_job_stays_as_it_is_and_tells_its_owner(store: SurrealStore) -> None:
    job = await job_in(store, JobState.FAILED)
    before = await bench.row(store, job.id)
    assert await bench.recover(store, job) is Recovered.RECOVERED
    after = await bench.row(store, job.id)
    assert after["error"]["code"] == BROKEN.code
    assert f"for {PRICE} credits" in after["error"]["message"]
    assert after["version"] == before["version"] + 1
    told = {"error", "version", "updated_at"}
    assert {name for name in after if after[name] != before[name]} == told


@pytest.mark.overlapping
async def test_of_twenty_recoveries_at_once_one_reserves(store: SurrealStore) -> None:
    job = await job_in(store, JobState.FAILED)
    await bench.grant(store, 20 * PRICE)
    outcomes = await asyncio.gather(*(bench.recover(store, job) for _ in range(20)))
    assert sorted(outcomes) == [Recovered.RECOVERED] + [Recovered.REPEAT] * 19
    assert await jobs(store) == 2
    assert await bench.credits_of(store) == (20 * PRICE, PRICE, 0, 21 * PRICE)
    assert (await store.job(job.id)).version == job.version + 1
    assert await bench.violations(store) == []


@pytest.mark.parametrize("state", sorted(set(JobState) - set(ENDINGS)))
async def test_only_a_job_that_ended_without_a_video_is_recovered(
    store: SurrealStore, state: JobState
) -> None:
    job = await job_in(store, state)
    await bench.grant(store, PRICE)
    before = await bench.row(store, job.id)
    assert await bench.recover(store, job) is Recovered.NOT_ENDED
    assert await bench.row(store, job.id) == before
    assert await jobs(store) == 1
    assert await bench.violations(store) == []


async def test_a_job_that_is_not_there_is_not_recovered(store: SurrealStore) -> None:
    job = await job_in(store, JobState.FAILED)
    unknown = dataclasses.replace(job, id="no-such-job")
    assert await bench.recover(store, unknown) is Recovered.NOT_ENDED
    assert await jobs(store) == 1
    assert await bench.credits_of(store) == (PRICE, 0, 0, PRICE)


async def test_without_credits_nothing_is_reserved_and_the_owner_is_told_once(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.FAILED)
    other = bench.new_job(credits=1)
    assert await bench.reserve(store, other) == "reserved"  # one credit short
    assert await bench.recover(store, job) is Recovered.INSUFFICIENT
    told = await bench.row(store, job.id)
    assert f"holds the {PRICE} credits" in told["error"]["message"]
    assert told["version"] == job.version + 1
    assert await bench.recover(store, job) is Recovered.INSUFFICIENT
    assert await bench.row(store, job.id) == told, "there is nothing new to tell"
    assert await bench.credits_of(store) == (PRICE - 1, 1, 0, PRICE)
    assert await jobs(store) == 2

    await bench.grant(store, 1)
    assert await bench.recover(store, job) is Recovered.RECOVERED
    assert "in your library" in (await bench.row(store, job.id))["error"]["message"]
    assert await bench.violations(store) == []


@pytest.mark.parametrize(
    ("choice", "outcome"),
    [(IfFinished.KEEP, Recovered.RECOVERED), (IfFinished.DISCARD, Recovered.UNWANTED)],
)
async def test_what_its_owner_gave_up_for_good_is_not_delivered(
    store: SurrealStore, choice: IfFinished, outcome: Recovered
) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, job.id, choice)
    assert await bench.close(store, job.id, JobState.CANCELLED) is Applied.CLOSED
    before = await bench.row(store, job.id)
    assert await bench.recover(store, job) is outcome
    wanted = outcome is Recovered.RECOVERED
    assert (await bench.row(store, job.id) != before) == wanted
    assert await jobs(store) == 1 + wanted
    assert await bench.violations(store) == []


async def test_there_is_one_successor_at_most_whatever_became_of_it(store: SurrealStore) -> None:
    job = await job_in(store, JobState.FAILED)
    assert await bench.recover(store, job) is Recovered.RECOVERED
    late = await bench.leased(store, bench.successor(job.id).job_id)
    assert await bench.recover(store, job, OTHER) is Recovered.REPEAT
    assert await bench.close(store, late.id, fence=late.fence) is Applied.CLOSED
    assert await bench.recover(store, job) is Recovered.REPEAT
    assert (await store.job(late.id)).state is JobState.FAILED
    assert await bench.credits_of(store) == (PRICE, 0, 0, PRICE)
    assert await bench.violations(store) == []


async def test_an_owner_at_the_limit_still_gets_a_video_that_is_made(store: SurrealStore) -> None:
    """The limit is on what runs at fal. The successor counts until it has ended."""
    job = await job_in(store, JobState.FAILED)
    await bench.grant(store, PRICE)
    assert await bench.reserve(store, bench.new_job(), max_in_flight=1) == "reserved"
    assert await bench.recover(store, job) is Recovered.RECOVERED
    assert await bench.reserve(store, bench.new_job(credits=0), max_in_flight=2) == "too_many"
    assert await bench.violations(store) == []


async def test_a_row_of_the_old_system_is_recovered_like_any_other(store: SurrealStore) -> None:
    """It holds less than ours: no model, no image, an id that is a number, and no price."""
    await store.database.write(
        "{ UPSERT account:⟨ana@example.com⟩ SET email = 'ana@example.com';"
        " CREATE video_job:7 SET account = account:⟨ana@example.com⟩, email = 'ana@example.com',"
        " template_id = 't', provider = 'p', arguments = {}, duration_s = 0, credits = 0,"
        " expected_render_s = 0, taken_over = true, state = 'failed',"
        " error = { code: 'failed_before', message: 'before' } }"
    )
    job = await store.job("7")
    assert await bench.recover(store, job) is Recovered.RECOVERED
    late = await bench.leased(store, bench.successor("7").job_id)
    assert (late.recovers, late.fal_model, late.status) == ("7", None, Status.PROCESSING)
    assert await bench.settle(store, late) is Settled.SETTLED
    assert [each.id for each in await store.jobs(OWNER, before=None, limit=9)] == [late.id, "7"]
    assert await bench.violations(store) == []


async def test_the_delivery_of_a_video_that_is_still_to_be_dealt_with_stays_open(
    store: SurrealStore,
) -> None:
    """What a late or unwanted video comes to is written next; a crash before that loses nothing."""
    ended = await job_in(store, JobState.FAILED)
    unwanted = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, unwanted.id, IfFinished.DISCARD)
    for job, outcome in ((ended, Applied.LATE), (unwanted, Applied.UNWANTED)):
        message = bench.delivery(job.id)
        await store.record_delivery(message, grace_s=0)
        assert await bench.rendered(store, job.id, entry_id=message.entry_id) is outcome
    assert len(await store.due_deliveries(9, retry_in_s=1)) == 2


# ------------------------------------------------------------------------------- written off


@pytest.mark.overlapping
async def test_a_cost_is_written_off_once_per_request(store: SurrealStore) -> None:
    job = await job_in(store, JobState.FAILED)
    costs = [bench.cost_of(job.id, Reason.LATE), bench.cost_of(job.id, Reason.LOST)]
    outcomes = await asyncio.gather(*(store.write_off(costs[n % 2]) for n in range(20)))
    assert sum(outcomes) == 1
    assert await store.write_off(bench.cost_of(job.id, Reason.SURPLUS, OTHER))
    assert len(await bench.write_offs(store)) == 2
    report = await audit(SurrealAuditStore(store.database), None)
    assert (report.violations, report.written_off) == ([], 2 * PRICE)


async def test_a_second_requests_video_is_written_off_once(store: SurrealStore) -> None:
    for state in (JobState.RENDERED, JobState.READY):
        job = await job_in(store, state)
        for _ in range(2):
            assert await bench.rendered(store, job.id, f"{OTHER} {state}") is Applied.SURPLUS
    surplus = [(f"{OTHER} {state}", "surplus", PRICE) for state in ("ready", "rendered")]
    assert await bench.write_offs(store) == surplus


async def test_no_other_verdict_on_a_video_is_written_off(store: SurrealStore) -> None:
    made = {state: await job_in(store, state) for state in JobState}
    unwanted = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, unwanted.id, IfFinished.DISCARD)
    told = {await bench.rendered(store, job.id) for job in (*made.values(), unwanted)}
    assert told == {Applied.RENDERED, Applied.REPEAT, Applied.LATE, Applied.UNWANTED}
    assert await bench.rendered(store, "no-such-job") is Applied.UNKNOWN_JOB
    assert await bench.write_offs(store) == []


async def test_a_cost_is_written_off_with_the_close_and_not_without_it(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    cost = bench.cost_of(job.id)
    assert await bench.close(store, job.id, attempt=2, cost=cost) is Applied.REFUSED
    assert await bench.write_offs(store) == [], "fal refused another attempt"
    for outcome in (Applied.CLOSED, Applied.REPEAT):
        assert await bench.close(store, job.id, attempt=1, cost=cost) is outcome
    assert await bench.write_offs(store) == [(bench.request_of(job.id), "refused", PRICE)]
    for state in sorted(set(JobState) - FINAL - {JobState.RENDERED}):
        other = await job_in(store, state)
        assert await bench.close(store, other.id) is Applied.CLOSED
    assert len(await bench.write_offs(store)) == 1, "nothing was rendered for the others"


async def test_a_cost_is_not_written_off_on_a_job_that_has_its_video(store: SurrealStore) -> None:
    for state in (JobState.RENDERED, JobState.READY):
        job = await job_in(store, state)
        cost = bench.cost_of(job.id)
        assert await bench.close(store, job.id, attempt=1, cost=cost) is Applied.REFUSED
    assert await bench.write_offs(store) == []
