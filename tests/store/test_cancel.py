"""Giving a video up: a wish noted, what it holds back, and whose word counts if fal finishes."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from service.adapters.store import SurrealStore
from service.domain.job import IfFinished, JobState, Submission
from service.domain.write_offs import Reason
from service.ports import Applied, Grounds, Settled
from tests.store import bench
from tests.store.bench import BROKEN, LONG_S, PRICE, job_in

KEEP, DISCARD = IfFinished.KEEP, IfFinished.DISCARD
ASKABLE = (JobState.RESERVED, JobState.SUBMIT_UNKNOWN, JobState.SUBMITTED)
OTHER = "another-request"


async def is_due(store: SurrealStore, job_id: str) -> bool:
    return job_id in [job.id for job in await store.due_jobs(50, (LONG_S,))]


@pytest.mark.parametrize("state", ASKABLE)
async def test_a_wish_is_noted_and_the_job_is_due_at_once(
    store: SurrealStore, state: JobState
) -> None:
    job = await job_in(store, state)
    assert await bench.cancel(store, job.id, DISCARD)
    after = await store.job(job.id)
    assert (after.state, after.if_finished, after.cancel_accepted) == (state, DISCARD, False)
    assert after.version == job.version + 1
    assert await is_due(store, job.id)
    assert await bench.credits_of(store) == (0, PRICE, 0, PRICE), "held until the verdict"


async def test_a_post_that_may_be_on_the_wire_is_waited_for(store: SurrealStore) -> None:
    """To sweep it now would only call its outcome unknown; the answer makes the job due."""
    job = await job_in(store, JobState.SUBMITTING)
    assert await bench.cancel(store, job.id)
    assert not await is_due(store, job.id)
    assert await bench.record(store, job)
    assert await is_due(store, job.id)


async def test_a_repeat_changes_at_most_the_choice(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    assert await bench.cancel(store, job.id, KEEP)
    first = await bench.row(store, job.id)
    assert await bench.cancel(store, job.id, KEEP)
    assert await bench.row(store, job.id) == first
    assert await bench.cancel(store, job.id, DISCARD)
    changed = await bench.row(store, job.id)
    assert (changed["if_finished"], changed["version"]) == (DISCARD, first["version"] + 1)
    assert changed["cancel_requested_at"] == first["cancel_requested_at"]


async def test_a_repeat_is_refused_once_there_is_a_video(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    assert await bench.cancel(store, job.id, KEEP)
    assert await bench.rendered(store, job.id) is Applied.RENDERED
    for choice in (KEEP, DISCARD):
        assert not await bench.cancel(store, job.id, choice)
    assert not await bench.cancel(store, "no-such-job")


async def test_a_parked_job_keeps_waiting_for_a_person(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    assert await store.park(job, "odd")
    assert await bench.cancel(store, job.id)
    assert not await bench.accepted(store, job)
    after = await bench.row(store, job.id)
    assert (after["parked"], after.get("due"), after["if_finished"]) == (True, None, KEEP)
    assert await bench.violations(store) == []


async def test_a_cancelled_job_is_not_sent_any_more(store: SurrealStore) -> None:
    job_id = await bench.reserved_id(store)
    await bench.cancel(store, job_id)
    assert await bench.begin(store, job_id) is None
    assert (await store.job(job_id)).submit_attempts == 0


@pytest.mark.overlapping
async def test_a_cancel_and_a_submitter_at_once_leave_nothing_unasked(store: SurrealStore) -> None:
    """Either the attempt is never made, or whoever answers it finds the wish on the row."""
    for _ in range(5):
        job_id = await bench.reserved_id(store)
        begun, noted = await asyncio.gather(bench.begin(store, job_id), bench.cancel(store, job_id))
        assert noted
        if begun is None:
            assert (await store.job(job_id)).state is JobState.RESERVED
        else:
            assert await bench.record(store, begun)
        assert await is_due(store, job_id)


async def test_fals_agreement_is_noted_once_and_its_end_asked_about_later(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, job.id)
    assert await bench.accepted(store, job)
    first = await bench.row(store, job.id)
    assert (await store.job(job.id)).cancel_accepted
    assert not await is_due(store, job.id)
    assert await bench.accepted(store, job)
    again = await bench.row(store, job.id)
    assert again["cancel_accepted_at"] == first["cancel_accepted_at"]
    assert again["version"] == first["version"], "no owner sees a difference"


async def test_fals_agreement_counts_for_the_request_it_was_about(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, job.id)
    assert not await bench.accepted(store, job, OTHER)
    assert await bench.accepted(store, job)
    assert await bench.void(store, job)
    assert await bench.record(store, job, OTHER), "fal had taken the attempt twice"
    after = await store.job(job.id)
    assert (after.submission, after.cancel_accepted) == (bench.submission(OTHER), False)
    assert await is_due(store, job.id), "this one has still to be stopped"


async def test_an_unwanted_video_closes_the_job_and_its_cost_is_counted(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, job.id, DISCARD)
    before = await bench.row(store, job.id)
    assert await bench.rendered(store, job.id) is Applied.UNWANTED
    assert await bench.row(store, job.id) == before, "its end is the caller's to write"
    cost = bench.cost_of(job.id, Reason.UNWANTED)
    assert await bench.close(store, job.id, JobState.CANCELLED, cost=cost) is Applied.CLOSED
    assert await bench.close(store, job.id, JobState.CANCELLED, cost=cost) is Applied.REPEAT
    assert await bench.rendered(store, job.id) is Applied.LATE
    assert await bench.write_offs(store) == [(bench.request_of(job.id), "unwanted", PRICE)]
    assert await bench.credits_of(store) == (PRICE, 0, 0, PRICE)
    assert await bench.violations(store) == []


async def test_an_owner_who_wants_the_video_after_all_gets_it(store: SurrealStore) -> None:
    """The choice changes between the verdict and the close that it caused."""
    job = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, job.id, DISCARD)
    assert await bench.rendered(store, job.id) is Applied.UNWANTED
    assert await bench.cancel(store, job.id, KEEP)
    cost = bench.cost_of(job.id, Reason.UNWANTED)
    assert await bench.close(store, job.id, JobState.CANCELLED, cost=cost) is Applied.REFUSED
    assert await bench.write_offs(store) == []
    assert await is_due(store, job.id), "fal is asked again"
    assert await bench.rendered(store, job.id) is Applied.RENDERED


@pytest.mark.parametrize("ended_as", [JobState.FAILED, JobState.CANCELLED])
async def test_an_unwanted_video_is_counted_although_the_job_has_just_ended(
    store: SurrealStore, ended_as: JobState
) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, job.id, DISCARD)
    assert await bench.rendered(store, job.id) is Applied.UNWANTED
    assert await bench.close(store, job.id, ended_as) is Applied.CLOSED, "another's word was first"
    cost = bench.cost_of(job.id, Reason.UNWANTED)
    assert await bench.close(store, job.id, JobState.CANCELLED, cost=cost) is not Applied.CLOSED
    assert await bench.write_offs(store) == [(bench.request_of(job.id), "unwanted", PRICE)]
    assert await bench.settlements(store) == [("release", PRICE)]


async def test_a_cancelled_job_whose_video_is_wanted_is_rendered_and_charged(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, job.id, KEEP)
    assert await bench.rendered(store, job.id) is Applied.RENDERED
    assert await bench.settle(store, await bench.leased(store, job.id)) is Settled.SETTLED
    assert await bench.credits_of(store) == (0, 0, PRICE, PRICE)


async def test_a_close_from_named_states_is_refused_in_any_other(store: SurrealStore) -> None:
    """Only what was never sent is closed at once on its owner's word."""
    grounds = Grounds(states=frozenset({JobState.RESERVED}))
    outcomes = {}
    for state in JobState:
        job = await job_in(store, state)
        outcomes[state] = await store.close_unfilled(job.id, JobState.CANCELLED, BROKEN, grounds)
    assert outcomes.pop(JobState.RESERVED) is Applied.CLOSED
    assert outcomes.pop(JobState.CANCELLED) is Applied.REPEAT
    assert set(outcomes.values()) == {Applied.REFUSED}
    assert await bench.violations(store) == []


@pytest.mark.overlapping
@pytest.mark.parametrize("choice", [KEEP, DISCARD])
async def test_a_cancel_a_video_and_an_end_in_every_order_agree(
    store: SurrealStore, choice: IfFinished
) -> None:
    """One of two ends, one settlement at most, and the owner's word is kept."""
    acts: dict[str, Callable[[str], Awaitable[object]]] = {
        "cancel": lambda job_id: bench.cancel(store, job_id, choice),
        "video": lambda job_id: bench.rendered(store, job_id),
        "end": lambda job_id: bench.close(store, job_id, JobState.CANCELLED, attempt=1),
    }
    for order in itertools.permutations(acts):
        job = await job_in(store, JobState.SUBMITTED)
        answers = await asyncio.gather(*(acts[name](job.id) for name in order))
        said = dict(zip(order, answers, strict=True))
        after = await store.job(job.id)
        if said["video"] is Applied.RENDERED:
            assert (after.state, said["end"]) == (JobState.RENDERED, Applied.REFUSED), order
            assert not (said["cancel"] and choice is DISCARD), order
            assert await bench.settle(store, await bench.leased(store, job.id)) is Settled.SETTLED
        else:
            assert (after.state, said["end"]) == (JobState.CANCELLED, Applied.CLOSED), order
            assert said["video"] in {Applied.LATE, Applied.UNWANTED}, order
            assert said["video"] is Applied.LATE or choice is DISCARD, order
        assert after.if_finished is (choice if said["cancel"] else None), order
    assert len(await bench.settlements(store)) == 6
    assert await bench.violations(store) == []


async def test_a_cancelled_request_that_another_one_overtook_is_no_longer_the_jobs(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    await bench.cancel(store, job.id, KEEP)
    assert await bench.rendered(store, job.id, OTHER) is Applied.RENDERED
    assert not await bench.accepted(store, job)
    assert (await store.job(job.id)).submission == Submission(request_id=OTHER)
