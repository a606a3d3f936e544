"""Submission, verdicts, leases and fences: who may still write, and what a late word does."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.adapters.store import SurrealStore
from service.domain.job import JobState, Submission
from service.ports import Applied, Settled
from tests.store import bench
from tests.store.bench import BROKEN, LONG_S, PRICE, job_in

OTHER = "another-request"


async def test_an_attempt_is_counted_before_its_post(store: SurrealStore) -> None:
    job = await bench.reserved_job(store)
    begun = await bench.begin(store, job.id)
    assert begun is not None
    assert (begun.state, begun.submit_attempts) == (JobState.SUBMITTING, 1)
    assert await bench.begin(store, job.id) is None


@pytest.mark.overlapping
async def test_of_sixteen_submitters_one_may_post(store: SurrealStore) -> None:
    job = await bench.reserved_job(store)
    begun = await asyncio.gather(*(bench.begin(store, job.id) for _ in range(16)))
    assert sum(each is not None for each in begun) == 1
    assert (await store.job(job.id)).submit_attempts == 1


async def test_a_submission_is_recorded_with_its_addresses(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTING)
    assert await bench.record(store, job)
    after = await store.job(job.id)
    assert after.submission == bench.submission(bench.request_of(job.id))
    assert after.submitted_at is not None
    assert await bench.record(store, job), "a repeat says the request is the job's"
    assert not await bench.record(store, job, OTHER), "a second request is not"
    assert (await store.job(job.id)).submission == after.submission


@pytest.mark.parametrize("name", ["record", "unknown", "void"])
async def test_the_answer_to_an_earlier_attempt_changes_nothing(
    store: SurrealStore, name: str
) -> None:
    first = await job_in(store, JobState.SUBMITTING)
    await bench.void(store, first)
    assert await bench.begin(store, first.id) is not None
    before = await bench.row(store, first.id)
    acts = {"record": bench.record, "unknown": bench.unknown, "void": bench.void}
    assert not await acts[name](store, first)
    if name == "record":  # but a request that fal has is never forgotten
        before["past_requests"] = [bench.request_of(first.id)]
    assert await bench.row(store, first.id) == before


async def test_an_overtaken_answer_fills_in_only_the_addresses(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTING)
    await bench.rendered(store, job.id)
    assert await bench.record(store, job)
    after = await store.job(job.id)
    assert after.state is JobState.RENDERED
    assert after.submission == bench.submission(bench.request_of(job.id))


async def test_a_void_attempt_keeps_the_old_request_and_frees_the_job(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    assert await bench.void(store, job)
    after = await store.job(job.id)
    assert (after.state, after.submission) == (JobState.RESERVED, None)
    assert after.past_requests == (bench.request_of(job.id),)
    assert await bench.credits_of(store) == (0, PRICE, 0, PRICE)


async def test_a_request_that_was_given_up_is_not_taken_up_again(store: SurrealStore) -> None:
    """Its answer, once more: the attempt is void, and another one is due."""
    job = await job_in(store, JobState.SUBMITTED)
    assert await bench.void(store, job)
    before = await bench.row(store, job.id)
    assert not await bench.record(store, job)
    assert await bench.row(store, job.id) == before


async def test_an_attempt_without_a_request_id_leaves_no_past_request(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMIT_UNKNOWN)
    assert await bench.void(store, job)
    assert (await store.job(job.id)).past_requests == ()


async def looked(store: SurrealStore, job_id: str, apart_s: float, again_in_s: float = 0) -> int:
    job = await store.job(job_id)
    return await store.count_lookup(job, apart_s=apart_s, again_in_s=again_in_s)


async def test_lookups_are_counted_and_start_anew_with_each_attempt(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMIT_UNKNOWN)
    assert [await looked(store, job.id, 0) for _ in range(3)] == [1, 2, 3]
    assert await looked(store, job.id, LONG_S) == 3, "too soon to say anything new"
    await bench.void(store, job)
    begun = await bench.begin(store, job.id)
    assert begun is not None
    assert begun.lookups == 0
    assert await looked(store, job.id, 0) == 0
    assert await bench.unknown(store, begun)
    assert await looked(store, job.id, LONG_S) == 1, "the first one counts at once"


async def test_the_next_lookup_is_due_as_soon_as_it_would_count(store: SurrealStore) -> None:
    """However patient the sweep has become with the job meanwhile."""
    job = await job_in(store, JobState.SUBMIT_UNKNOWN)
    await looked(store, job.id, 0, LONG_S)
    assert await store.due_jobs(10, (LONG_S,)) == []
    await looked(store, job.id, 0, 0)
    assert [each.id for each in await store.due_jobs(10, (LONG_S,))] == [job.id]
    await looked(store, job.id, LONG_S, 0)
    assert await store.due_jobs(10, (LONG_S,)) == [], "one that does not count changes nothing"


@pytest.mark.parametrize("state", [JobState.RESERVED, JobState.SUBMITTING, JobState.SUBMIT_UNKNOWN])
async def test_a_verdict_that_outruns_our_bookkeeping_is_adopted(
    store: SurrealStore, state: JobState
) -> None:
    job = await job_in(store, state)
    assert await bench.rendered(store, job.id) is Applied.RENDERED
    after = await store.job(job.id)
    assert after.submission is not None
    assert after.submission.request_id == bench.request_of(job.id)
    assert after.source_url is not None


async def test_whichever_request_is_first_with_a_video_is_the_jobs(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    assert await bench.rendered(store, job.id, OTHER, "https://x/other") is Applied.RENDERED
    after = await store.job(job.id)
    assert after.submission == Submission(request_id=OTHER)
    assert after.past_requests == (bench.request_of(job.id),)
    assert after.source_url == "https://x/other"


@pytest.mark.parametrize("state", [JobState.RENDERED, JobState.READY])
async def test_another_requests_video_after_the_first_is_surplus(
    store: SurrealStore, state: JobState
) -> None:
    job = await job_in(store, state)
    before = await bench.row(store, job.id)
    assert await bench.rendered(store, job.id, OTHER) is Applied.SURPLUS
    assert await bench.row(store, job.id) == before


async def test_a_past_requests_video_is_taken_after_all(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.void(store, job)
    begun = await bench.begin(store, job.id)
    assert begun is not None
    await bench.record(store, begun, OTHER)
    assert await bench.rendered(store, job.id) is Applied.RENDERED
    after = await store.job(job.id)
    assert after.submission is not None
    assert after.submission.request_id == bench.request_of(job.id)


@pytest.mark.parametrize("state", [JobState.RENDERED, JobState.READY])
async def test_a_repeated_verdict_changes_nothing(store: SurrealStore, state: JobState) -> None:
    job = await job_in(store, state)
    before = await bench.row(store, job.id)
    assert await bench.rendered(store, job.id, source_url="https://x/other") is Applied.REPEAT
    assert await bench.row(store, job.id) == before


@pytest.mark.parametrize("to", [JobState.FAILED, JobState.CANCELLED])
@pytest.mark.parametrize("state", [JobState.SUBMITTED, JobState.SUBMIT_UNKNOWN, JobState.RESERVED])
async def test_a_video_for_a_job_that_ended_without_one_is_late(
    store: SurrealStore, state: JobState, to: JobState
) -> None:
    job = await job_in(store, state)
    await bench.close(store, job.id, to)
    assert await bench.rendered(store, job.id) is Applied.LATE
    assert (await store.job(job.id)).state is to
    assert await bench.credits_of(store) == (PRICE, 0, 0, PRICE)


async def test_an_unknown_address_keeps_the_known_one(store: SurrealStore) -> None:
    job = await job_in(store, JobState.RENDERED)
    assert job.source_url is not None
    assert await store.new_source(job.id, job.fence, "https://v3.fal.media/new.mp4")
    await bench.rendered(store, job.id, source_url=None)
    assert (await store.job(job.id)).source_url == "https://v3.fal.media/new.mp4"


async def test_a_refusal_of_an_earlier_attempt_is_refused(store: SurrealStore) -> None:
    first = await job_in(store, JobState.SUBMITTED)
    await bench.void(store, first)
    assert await bench.begin(store, first.id) is not None
    assert await bench.close(store, first.id, attempt=first.submit_attempts) is Applied.REFUSED
    assert (await store.job(first.id)).state is JobState.SUBMITTING
    assert await bench.settlements(store) == []
    assert await bench.close(store, first.id, attempt=2) is Applied.CLOSED


async def test_no_word_of_fal_and_no_owner_undoes_a_video(store: SurrealStore) -> None:
    """F65: nor does a release."""
    job = await job_in(store, JobState.RENDERED)
    for to in (JobState.FAILED, JobState.CANCELLED):
        assert await bench.close(store, job.id, to) is Applied.REFUSED
        assert await bench.close(store, job.id, to, attempt=1) is Applied.REFUSED
    assert (await store.job(job.id)).state is JobState.RENDERED
    assert await bench.settlements(store) == []


async def test_a_refusal_that_outruns_the_answer_names_its_request(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTING)
    assert await bench.close(store, job.id, attempt=1, request_id=OTHER) is Applied.CLOSED
    after = await store.job(job.id)
    assert after.submission is not None
    assert (after.submission.request_id, after.error) == (OTHER, BROKEN)


async def test_a_close_of_the_right_request_keeps_that_request(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    request_id = bench.request_of(job.id)
    assert await bench.close(store, job.id, request_id=OTHER) is Applied.CLOSED
    assert (await store.job(job.id)).submission == bench.submission(request_id)


# ------------------------------------------------------------------------------ leases, fences


async def expired(store: SurrealStore, job_id: str) -> None:
    lease_until = (await bench.row(store, job_id))["lease_until"]
    await bench.until_passed(store, lease_until)


async def render(store: SurrealStore) -> str:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.rendered(store, job.id)
    return job.id


@pytest.mark.overlapping
async def test_a_lease_is_exclusive_and_counts_the_attempt_first(store: SurrealStore) -> None:
    job_id = await render(store)
    taken = await asyncio.gather(*(store.lease(job_id, f"p{n}", lease_s=LONG_S) for n in range(16)))
    [winner] = [each for each in taken if each is not None]
    assert (winner.fence, winner.finalise_attempts) == (1, 1)
    assert await store.lease(job_id, winner.id, lease_s=LONG_S) is None


async def test_only_a_rendered_job_is_leased(store: SurrealStore) -> None:
    for state in JobState:
        job = await job_in(store, state)
        before = await bench.row(store, job.id)
        assert await store.lease(job.id, "other", lease_s=1) is None, "the rendered one is held"
        assert await bench.row(store, job.id) == before, state


async def test_a_lease_that_ran_out_goes_to_the_next_with_a_higher_fence(
    store: SurrealStore,
) -> None:
    """F45: a dead holder is replaced."""
    job_id = await render(store)
    first = await bench.leased(store, job_id, lease_s=0.05)
    await expired(store, job_id)
    second = await bench.leased(store, job_id)
    assert (first.fence, second.fence, second.finalise_attempts) == (1, 2, 2)


async def test_a_heartbeat_prolongs_the_lease(store: SurrealStore) -> None:
    job_id = await render(store)
    job = await bench.leased(store, job_id, lease_s=0.05)
    short = (await bench.row(store, job_id))["lease_until"]
    assert await store.heartbeat(job_id, job.fence, lease_s=LONG_S)
    await bench.until_passed(store, short)
    assert await store.lease(job_id, "other", lease_s=1) is None


async def test_a_lease_given_back_is_free_at_once_and_no_longer_ours(store: SurrealStore) -> None:
    job_id = await render(store)
    job = await bench.leased(store, job_id)
    assert await bench.give_back(store, job)
    assert not await bench.give_back(store, job)
    assert not await store.heartbeat(job_id, job.fence, lease_s=1)
    assert (await bench.leased(store, job_id)).fence == job.fence + 1


@pytest.mark.parametrize(
    "name", ["heartbeat", "give_back", "new_source", "settle", "park", "close"]
)
async def test_the_holder_of_a_lost_lease_changes_nothing(store: SurrealStore, name: str) -> None:
    """F46: each of its writes is refused."""
    job_id = await render(store)
    old = await bench.leased(store, job_id, lease_s=0.05)
    await expired(store, job_id)
    await bench.leased(store, job_id)
    before = await bench.row(store, job_id)
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "heartbeat": lambda: store.heartbeat(job_id, old.fence, lease_s=1),
        "give_back": lambda: bench.give_back(store, old),
        "new_source": lambda: store.new_source(job_id, old.fence, "https://x"),
        "settle": lambda: bench.settle(store, old),
        "park": lambda: store.park(old, "odd", leased=True),
        "close": lambda: bench.close(store, job_id, fence=old.fence),
    }
    answer = await acts[name]()
    assert answer in (False, Settled.STALE, Applied.REFUSED)
    assert await bench.row(store, job_id) == before


async def test_the_holder_may_close_and_park_under_its_own_fence(store: SurrealStore) -> None:
    first = await bench.leased(store, await render(store))
    assert await store.park(first, "odd", leased=True)
    second = await bench.leased(store, await render(store))
    assert await bench.close(store, second.id, fence=second.fence) is Applied.CLOSED


async def test_an_attempt_that_says_nothing_about_the_job_is_not_held_against_it(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.RENDERED)
    assert await store.give_back(job, "the store is away", retry_in_s=0, counted=False)
    again = await bench.leased(store, job.id)
    assert (again.finalise_attempts, again.fence) == (1, 2)
    assert await bench.give_back(store, again)
    assert (await bench.leased(store, job.id)).finalise_attempts == 2


async def test_only_the_holder_parks_a_leased_job_until_the_lease_is_over(
    store: SurrealStore,
) -> None:
    job_id = await render(store)
    seen = await bench.leased(store, job_id, lease_s=LONG_S)
    assert not await store.park(seen, "odd")
    await store.heartbeat(job_id, seen.fence, lease_s=0.05)
    await expired(store, job_id)
    assert await store.park(seen, "odd")


async def test_a_verdict_repeated_during_a_lease_leaves_the_lease_alone(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.RENDERED)
    await bench.rendered(store, job.id)
    assert await store.heartbeat(job.id, job.fence, lease_s=1)
