"""Grants, reservations, captures and releases: once each, whoever asks how often."""

import asyncio
import dataclasses

import pytest

from service.adapters.store import SurrealStore
from service.adapters.surreal_errors import Rejected
from service.domain.credits import Balance
from service.domain.errors import IdempotencyConflict
from service.domain.job import JobState
from service.ports import Applied, Reserved, Settled
from tests.store import bench
from tests.store.bench import OWNER, PRICE, job_in, new_job, reserve

BEN = "ben@example.com"


async def test_a_grant_is_added_once_however_often_it_is_sent(store: SurrealStore) -> None:
    first = await store.grant(OWNER, 10, "g1")
    again = await store.grant(OWNER, 10, "g1")
    other = await store.grant(OWNER, 5, "g2")
    assert first == again == Balance(available=10, reserved=0, captured=0, granted=10)
    assert bench.amounts(other) == (15, 0, 0, 15)
    assert await bench.ledger_kinds(store) == ["grant", "grant"]


@pytest.mark.parametrize(("email", "amount"), [("bea@example.com", 10), (OWNER, 20)])
async def test_another_grant_under_the_same_id_is_refused_and_not_taken_for_a_repeat(
    store: SurrealStore, email: str, amount: int
) -> None:
    await store.grant(OWNER, 10, "g1")
    await store.grant("bea@example.com", 1, "g2")
    with pytest.raises(IdempotencyConflict, match="g1"):
        await store.grant(email, amount, "g1")
    assert await bench.credits_of(store, OWNER) == (10, 0, 0, 10)
    assert await bench.credits_of(store, "bea@example.com") == (1, 0, 0, 1)


async def test_a_grant_that_the_schema_refuses_is_not_taken_for_a_repeat(
    store: SurrealStore,
) -> None:
    with pytest.raises(Rejected):
        await store.grant(OWNER, -1, "g1")
    assert await bench.credits_of(store) == (0, 0, 0, 0)


async def test_an_account_is_one_however_its_address_is_spelt(store: SurrealStore) -> None:
    await store.grant(" Ana@Example.COM ", 10, "g1")
    assert await bench.credits_of(store, OWNER) == (10, 0, 0, 10)
    assert await reserve(store, new_job(email="ANA@example.com")) is Reserved.RESERVED
    assert [job.owner for job in await store.jobs(OWNER, before=None, limit=9)] == [OWNER]


async def test_an_unknown_account_holds_nothing(store: SurrealStore) -> None:
    assert await bench.credits_of(store, "nobody@example.com") == (0, 0, 0, 0)
    assert await store.ledger("nobody@example.com", 10) == []
    assert await store.jobs("nobody@example.com", before=None, limit=10) == []


async def test_a_reservation_holds_the_price_and_writes_the_job(store: SurrealStore) -> None:
    await store.grant(OWNER, 10, "g1")
    order = new_job()
    assert await reserve(store, order) is Reserved.RESERVED
    assert await bench.credits_of(store) == (3, 7, 0, 10)
    job = await store.job(order.id)
    for name in (field.name for field in dataclasses.fields(order)):
        assert getattr(job, name) == getattr(order, name), name
    assert (job.state, job.parked, job.submission, job.error) == ("reserved", False, None, None)
    assert (job.submit_attempts, job.finalise_attempts, job.fence, job.lookups) == (0, 0, 0, 0)
    assert job.created_at.tzinfo is not None
    assert job.created_at <= job.read_at


async def test_a_repeated_reservation_exists_and_holds_nothing_more(store: SurrealStore) -> None:
    await store.grant(OWNER, 100, "g1")
    order = new_job()
    await reserve(store, order)
    before = await bench.row(store, order.id)
    assert await reserve(store, order) is Reserved.EXISTS
    assert await bench.credits_of(store) == (93, 7, 0, 100)
    assert await bench.row(store, order.id) == before


async def test_another_request_under_the_same_id_is_a_conflict(store: SurrealStore) -> None:
    await store.grant(OWNER, 100, "g1")
    order = new_job()
    await reserve(store, order)
    other = new_job(order.id, digest="another", credits=9)
    assert await reserve(store, other) is Reserved.CONFLICT
    assert await bench.credits_of(store) == (93, 7, 0, 100)
    assert (await store.job(order.id)).credits == PRICE


async def test_a_repeat_is_recognised_even_without_credit_or_room(store: SurrealStore) -> None:
    order = new_job()
    await store.grant(OWNER, PRICE, "g1")
    await reserve(store, order)
    assert await reserve(store, order, max_in_flight=1) is Reserved.EXISTS


@pytest.mark.parametrize("granted", [0, PRICE - 1])
async def test_a_reservation_without_credit_changes_nothing(
    store: SurrealStore, granted: int
) -> None:
    if granted:
        await store.grant(OWNER, granted, "g1")
    order = new_job()
    assert await reserve(store, order) is Reserved.INSUFFICIENT
    assert await bench.credits_of(store) == (granted, 0, 0, granted)
    assert await store.jobs(OWNER, before=None, limit=10) == []
    assert await bench.ledger_kinds(store) == ["grant"] * bool(granted)


async def test_the_last_credit_can_be_reserved(store: SurrealStore) -> None:
    await store.grant(OWNER, PRICE, "g1")
    assert await reserve(store, new_job()) is Reserved.RESERVED
    assert await bench.credits_of(store) == (0, PRICE, 0, PRICE)


async def test_more_unfinished_jobs_than_allowed_are_refused_until_one_ends(
    store: SurrealStore,
) -> None:
    await store.grant(OWNER, 100, "g1")
    first = new_job()
    assert await reserve(store, first, max_in_flight=2) is Reserved.RESERVED
    assert await reserve(store, new_job(), max_in_flight=2) is Reserved.RESERVED
    refused = new_job()
    assert await reserve(store, refused, max_in_flight=2) is Reserved.TOO_MANY
    assert await bench.credits_of(store) == (86, 14, 0, 100)
    await bench.close(store, first.id)
    assert await reserve(store, refused, max_in_flight=2) is Reserved.RESERVED


async def test_one_owners_jobs_do_not_count_against_another(store: SurrealStore) -> None:
    await job_in(store, JobState.RESERVED)
    await store.grant(BEN, PRICE, "b1")
    assert await reserve(store, new_job(email=BEN), max_in_flight=1) is Reserved.RESERVED
    assert await bench.credits_of(store) == (0, PRICE, 0, PRICE)


async def test_capture_then_release_is_the_capture_alone(store: SurrealStore) -> None:
    job = await job_in(store, JobState.RENDERED)
    assert await bench.settle(store, job) is Settled.SETTLED
    for to in (JobState.FAILED, JobState.CANCELLED):
        assert await bench.close(store, job.id, to) is Applied.REFUSED
    assert await bench.settle(store, job) is Settled.ALREADY
    assert await bench.credits_of(store) == (0, 0, PRICE, PRICE)
    assert await bench.settlements(store) == [("capture", PRICE)]


async def test_release_then_capture_is_the_release_alone(store: SurrealStore) -> None:
    job = await job_in(store, JobState.RENDERED)
    assert await bench.close(store, job.id, fence=job.fence) is Applied.CLOSED
    assert await bench.settle(store, job) is Settled.STALE
    assert await bench.close(store, job.id) is Applied.REPEAT
    assert await bench.close(store, job.id, JobState.CANCELLED) is Applied.REFUSED
    assert await bench.credits_of(store) == (PRICE, 0, 0, PRICE)
    assert await bench.settlements(store) == [("release", PRICE)]
    assert (await store.ledger(OWNER, 1))[0].id == f"{job.id}/settlement"
    assert await store.database.read("RETURN count(SELECT VALUE id FROM library)") == 0


async def test_a_settled_job_is_stored_captured_and_in_the_library(store: SurrealStore) -> None:
    job = await job_in(store, JobState.READY)
    assert (job.object_key, job.object_size, job.object_sha256) == (
        f"users/0/library/{job.id}.mp4",
        1234,
        bench.SHA256,
    )
    library = await store.database.read("SELECT job, object_key, account FROM library")
    assert [(each["job"].id, each["object_key"]) for each in library] == [(job.id, job.object_key)]
    assert [each["account"].id for each in library] == [OWNER]


async def test_the_ledger_tells_a_jobs_whole_story_newest_first(store: SurrealStore) -> None:
    job = await job_in(store, JobState.READY)
    entries = await store.ledger(OWNER, 10)
    assert [entry.kind for entry in entries] == ["capture", "reserve", "grant"]
    assert [entry.credits for entry in entries] == [PRICE] * 3
    assert [entry.job_id for entry in entries] == [job.id, job.id, None]
    assert [entry.id for entry in entries[:2]] == [f"{job.id}/settlement", f"{job.id}/reserve"]
    assert [entry.id for entry in await store.ledger(OWNER, 1)] == [entries[0].id]


async def test_a_job_that_costs_nothing_is_reserved_and_settled(store: SurrealStore) -> None:
    await store.grant(OWNER, 1, "g1")
    job = await job_in(store, JobState.READY, credits=0)
    assert await bench.settlements(store) == [("capture", 0)]
    assert job.credits == 0


@pytest.mark.overlapping
async def test_sixteen_reservations_with_credit_for_one_make_one(store: SurrealStore) -> None:
    """F11: at the store."""
    await store.grant(OWNER, PRICE, "g1")
    outcomes = await asyncio.gather(*(reserve(store, new_job()) for _ in range(16)))
    assert sorted(outcomes) == [Reserved.INSUFFICIENT] * 15 + [Reserved.RESERVED]
    assert await bench.credits_of(store) == (0, PRICE, 0, PRICE)
    assert len(await store.jobs(OWNER, before=None, limit=20)) == 1


@pytest.mark.overlapping
async def test_sixteen_repeats_of_one_reservation_make_one(store: SurrealStore) -> None:
    await store.grant(OWNER, 100, "g1")
    order = new_job()
    outcomes = await asyncio.gather(*(reserve(store, order) for _ in range(16)))
    assert sorted(outcomes) == [Reserved.EXISTS] * 15 + [Reserved.RESERVED]
    assert await bench.credits_of(store) == (93, 7, 0, 100)


@pytest.mark.overlapping
async def test_the_same_grant_sent_sixteen_times_at_once_counts_once(store: SurrealStore) -> None:
    await asyncio.gather(*(store.grant(OWNER, 5, "g1") for _ in range(16)))
    assert await bench.credits_of(store) == (5, 0, 0, 5)


@pytest.mark.overlapping
async def test_thirty_racing_ends_of_one_job_settle_it_once(store: SurrealStore) -> None:
    """F66: captures, releases and cancels at once."""
    job = await job_in(store, JobState.RENDERED)
    racers = [
        *(bench.settle(store, job) for _ in range(10)),
        *(bench.close(store, job.id, fence=job.fence) for _ in range(10)),
        *(bench.close(store, job.id, JobState.CANCELLED, fence=job.fence) for _ in range(10)),
    ]
    outcomes = await asyncio.gather(*racers)
    assert sum(each in (Settled.SETTLED, Applied.CLOSED) for each in outcomes) == 1
    [(kind, credits_)] = await bench.settlements(store)
    assert credits_ == PRICE
    spent = (0, 0, PRICE, PRICE) if kind == "capture" else (PRICE, 0, 0, PRICE)
    assert await bench.credits_of(store) == spent
    assert await bench.violations(store) == []


@pytest.mark.overlapping
async def test_sixteen_finalisers_of_one_account_lose_no_update(store: SurrealStore) -> None:
    """F59: conflicts are retried, and no capture is lost."""
    jobs = [await job_in(store, JobState.RENDERED) for _ in range(16)]
    outcomes = await asyncio.gather(*(bench.settle(store, job) for job in jobs))
    assert set(outcomes) == {Settled.SETTLED}
    total = 16 * PRICE
    assert await bench.credits_of(store) == (0, 0, total, total)
    assert await bench.violations(store) == []
