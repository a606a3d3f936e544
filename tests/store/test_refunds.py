"""Refunds: captured credits become available again, a job's once ever, and the books agree."""

import asyncio
from typing import Any

import pytest

from service.adapters.rows import job_record, refund_record
from service.adapters.store import SurrealStore
from service.domain.audit import Invariant
from service.domain.credits import EntryKind, Refunded
from service.domain.job import JobState
from service.ports import Deleted
from tests.store import bench
from tests.store.bench import OWNER, PRICE, job_in

BEN = "ben@example.com"


async def refund(store: SurrealStore, job_id: str) -> Refunded:
    return await store.refund_job(job_id, "it shows another brand")


async def refund_some(
    store: SurrealStore, amount: int, refund_id: str = "r1", email: str = OWNER
) -> Refunded:
    return await store.refund_account(email, amount, refund_id, "sorry")


async def test_a_refund_makes_a_jobs_credits_available_and_its_capture_stays(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.READY)
    assert await bench.credits_of(store) == (0, 0, PRICE, PRICE)
    assert await refund(store, job.id) is Refunded.REFUNDED
    assert await bench.credits_of(store) == (PRICE, 0, 0, PRICE)
    entries = {each.kind: each for each in await store.job_ledger(job.id)}
    assert entries.keys() == {EntryKind.RESERVE, EntryKind.CAPTURE, EntryKind.REFUND}
    made = entries[EntryKind.REFUND]
    assert (made.credits, made.job_id, made.reason) == (PRICE, job.id, "it shows another brand")
    assert (await store.job(job.id)).state is JobState.READY
    assert await bench.violations(store) == []


async def test_a_job_is_refunded_once(store: SurrealStore) -> None:
    job = await job_in(store, JobState.READY)
    other = await job_in(store, JobState.READY)
    outcomes = [await refund(store, job.id) for _ in range(3)]
    assert outcomes == [Refunded.REFUNDED, Refunded.REPEAT, Refunded.REPEAT]
    assert await bench.credits_of(store) == (PRICE, 0, PRICE, 2 * PRICE)
    assert await refund(store, other.id) is Refunded.REFUNDED
    assert await bench.violations(store) == []


@pytest.mark.overlapping
async def test_of_twenty_refunds_at_once_one_is_made(store: SurrealStore) -> None:
    job = await job_in(store, JobState.READY)
    await job_in(store, JobState.READY)
    outcomes = await asyncio.gather(*(refund(store, job.id) for _ in range(20)))
    assert (outcomes.count(Refunded.REFUNDED), outcomes.count(Refunded.REPEAT)) == (1, 19)
    assert await bench.credits_of(store) == (PRICE, 0, PRICE, 2 * PRICE)
    assert await bench.violations(store) == []


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.READY}))
async def test_a_job_that_has_captured_nothing_is_not_refunded(
    store: SurrealStore, state: JobState
) -> None:
    """Released, or never settled: although its owner has spent as much on something else."""
    await job_in(store, JobState.READY)
    job = await job_in(store, state)
    before = await bench.credits_of(store)
    assert await refund(store, job.id) is Refunded.NOT_CAPTURED
    assert await bench.credits_of(store) == before
    assert await bench.violations(store) == []


async def test_a_job_that_is_not_there_is_not_refunded(store: SurrealStore) -> None:
    assert await refund(store, "no-such-job") is Refunded.UNKNOWN_JOB
    assert await store.job_ledger("no-such-job") == []


async def test_a_deleted_job_is_refunded_all_the_same(store: SurrealStore) -> None:
    job = await job_in(store, JobState.READY)
    assert await store.begin_delete(job.id) is Deleted.DELETED
    assert await refund(store, job.id) is Refunded.REFUNDED
    assert await bench.credits_of(store) == (PRICE, 0, 0, PRICE)
    assert await bench.violations(store) == []


async def test_an_amount_is_refunded_once_under_its_id_and_no_more_than_was_spent(
    store: SurrealStore,
) -> None:
    await job_in(store, JobState.READY)
    await job_in(store, JobState.READY, email=BEN)
    assert await refund_some(store, 5) is Refunded.REFUNDED
    assert await refund_some(store, 5) is Refunded.REPEAT
    assert await refund_some(store, 4) is Refunded.CONFLICT
    assert await refund_some(store, 5, email=BEN) is Refunded.CONFLICT
    assert await refund_some(store, 3, "r2") is Refunded.INSUFFICIENT
    assert await refund_some(store, 2, "r2") is Refunded.REFUNDED
    assert await refund_some(store, 1, "r3", "nobody@example.com") is Refunded.INSUFFICIENT
    assert await bench.credits_of(store) == (PRICE, 0, 0, PRICE)
    assert await bench.credits_of(store, BEN) == (0, 0, PRICE, PRICE)
    assert await bench.violations(store) == []


async def test_what_was_given_back_by_amount_is_not_given_back_by_job_again(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.READY)
    assert await refund_some(store, 1) is Refunded.REFUNDED
    assert await refund(store, job.id) is Refunded.INSUFFICIENT
    assert await bench.credits_of(store) == (1, 0, PRICE - 1, PRICE)
    assert await bench.violations(store) == []


@pytest.mark.overlapping
async def test_refunds_at_once_give_back_no_more_than_was_spent(store: SurrealStore) -> None:
    jobs = [await job_in(store, JobState.READY) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(refund(store, each.id) for each in jobs),
        *(refund_some(store, PRICE, f"r{each}") for each in range(6)),
    )
    assert outcomes.count(Refunded.REFUNDED) == len(jobs)
    assert await bench.credits_of(store) == (3 * PRICE, 0, 0, 3 * PRICE)
    assert await bench.violations(store) == []


@pytest.mark.parametrize("wrong", ["job", "amount", "account", "id"])
async def test_the_audit_sees_a_refund_of_what_was_not_captured(
    store: SurrealStore, wrong: str
) -> None:
    ready, failed = await job_in(store, JobState.READY), await job_in(store, JobState.FAILED)
    job = failed if wrong == "job" else ready
    await bench.grant(store, 1, BEN)
    facts: dict[str, Any] = {
        "entry": refund_record(failed.id if wrong == "id" else job.id),
        "job": job_record(job.id),
        "credits": PRICE + 1 if wrong == "amount" else PRICE,
        "email": BEN if wrong == "account" else OWNER,
    }
    await store.database.write(
        "CREATE $entry SET account = type::record('account', $email), job = $job, kind = 'refund',"
        " credits = $credits",
        **facts,
    )
    found = [each.invariant for each in await bench.violations(store)]
    assert Invariant.SETTLED_ONCE in found
    assert Invariant.BALANCED in found, "the account's row knows nothing of it"
