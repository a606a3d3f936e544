"""The inbox: one row per distinct delivery, handled together with what it caused."""

import asyncio
import dataclasses

import pytest

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.store import SurrealStore
from service.adapters.surreal_errors import Rejected
from service.domain.job import JobState
from service.ports import Applied
from tests.store import bench
from tests.store.bench import LONG_S, delivery, job_in

BODY = bytes(range(256)) * 40


async def rows(store: SurrealStore) -> int:
    return int(await store.database.read("RETURN count(SELECT VALUE id FROM inbox)"))


async def outcome(store: SurrealStore, entry_id: str) -> object:
    return await store.database.read(
        "SELECT VALUE outcome FROM ONLY inbox WHERE record::id(id) = $id LIMIT 1", id=entry_id
    )


async def test_a_delivery_is_kept_to_the_byte(store: SurrealStore) -> None:
    message = delivery(body=BODY, stale=True)
    assert await store.record_delivery(message, grace_s=LONG_S)
    entry = await store.take_delivery(message.entry_id, retry_in_s=LONG_S)
    assert entry is not None
    assert (entry.body, entry.stale, entry.job_id) == (BODY, True, message.job_id)
    assert (entry.id, entry.request_id) == (message.entry_id, message.request_id)
    assert entry.attempt == message.attempt
    assert (entry.attempts, entry.handled_at, entry.outcome) == (1, None, None)
    assert not entry.parked


@pytest.mark.overlapping
async def test_the_same_delivery_recorded_fifty_times_at_once_is_one_row(
    store: SurrealStore,
) -> None:
    """F16: at the store."""
    message = delivery()
    created = await asyncio.gather(
        *(store.record_delivery(message, grace_s=LONG_S) for _ in range(50))
    )
    assert created.count(True) == 1
    assert await rows(store) == 1


async def test_a_delivery_that_cannot_be_stored_is_not_taken_for_a_repeat(
    store: SurrealStore,
) -> None:
    """Whatever the schema (a newer one, say) refuses: fal must hear that we do not have it."""
    with pytest.raises(Rejected):
        await store.record_delivery(delivery(user_id=7), grace_s=LONG_S)
    assert await rows(store) == 0


async def test_a_repeat_leaves_a_handled_delivery_handled(store: SurrealStore) -> None:
    message = delivery()
    await store.record_delivery(message, grace_s=0)
    await store.close_delivery(message.entry_id, "late")
    assert not await store.record_delivery(message, grace_s=0)
    assert await store.take_delivery(message.entry_id, retry_in_s=1) is None


async def test_whatever_differs_makes_another_row(store: SurrealStore) -> None:
    one = delivery()
    others = [
        dataclasses.replace(one, body=b"{}"),
        dataclasses.replace(one, request_id="r2"),
        dataclasses.replace(one, job_id="v2x"),
        dataclasses.replace(one, stale=True),
    ]
    for message in (one, *others):
        assert await store.record_delivery(message, grace_s=LONG_S)
    assert await rows(store) == 5


async def test_attempts_are_counted_before_the_work(store: SurrealStore) -> None:
    message = delivery()
    await store.record_delivery(message, grace_s=0)
    attempts = []
    for _ in range(3):
        entry = await store.take_delivery(message.entry_id, retry_in_s=LONG_S)
        assert entry is not None
        attempts.append(entry.attempts)
    assert attempts == [1, 2, 3]
    assert await store.due_deliveries(9, retry_in_s=1) == [], "taking it puts it off"


async def test_an_unknown_entry_is_taken_closed_and_parked_by_nobody(store: SurrealStore) -> None:
    assert await store.take_delivery("nothing", retry_in_s=1) is None
    assert not await store.close_delivery("nothing", "x")
    assert not await store.park_delivery("nothing", "x")
    assert await rows(store) == 0


async def test_the_first_outcome_stays(store: SurrealStore) -> None:
    message = delivery()
    await store.record_delivery(message, grace_s=0)
    assert await store.close_delivery(message.entry_id, "first")
    assert not await store.close_delivery(message.entry_id, "second")
    assert not await store.park_delivery(message.entry_id, "third")
    assert await outcome(store, message.entry_id) == "first"


async def test_a_parked_entry_waits_for_a_person_who_may_close_it(store: SurrealStore) -> None:
    message = delivery()
    await store.record_delivery(message, grace_s=0)
    assert await store.park_delivery(message.entry_id, "unreadable")
    assert not await store.park_delivery(message.entry_id, "again")
    assert await outcome(store, message.entry_id) == "unreadable"
    assert await bench.violations(store) == []
    assert await store.close_delivery(message.entry_id, "seen to")


async def test_a_verdict_closes_its_entry_in_the_same_transaction(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    message = delivery(job.id)
    await store.record_delivery(message, grace_s=0)
    applied = await bench.rendered(store, job.id, entry_id=message.entry_id)
    assert applied is Applied.RENDERED
    assert await outcome(store, message.entry_id) == "rendered"
    again = await bench.rendered(store, job.id, entry_id=message.entry_id)
    assert again is Applied.REPEAT
    assert await outcome(store, message.entry_id) == "rendered", "the first outcome stays"


async def test_a_refusal_closes_its_entry_and_the_first_outcome_stays(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    message = delivery(job.id)
    await store.record_delivery(message, grace_s=0)
    for expected in (Applied.CLOSED, Applied.REPEAT):
        done = await bench.close(store, job.id, entry_id=message.entry_id)
        assert done is expected
    assert await outcome(store, message.entry_id) == "closed"


async def test_a_broken_request_closes_its_entry_and_the_first_outcome_stays(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    message = delivery(job.id)
    await store.record_delivery(message, grace_s=0)
    for expected in (True, False):
        done = await store.submission_void(
            job, "broke", retry_in_s=LONG_S, entry_id=message.entry_id
        )
        assert done is expected
    assert await outcome(store, message.entry_id) == "void"
    late = delivery(job.id, body=b"again")
    await store.record_delivery(late, grace_s=0)
    await store.submission_void(job, "broke", retry_in_s=LONG_S, entry_id=late.entry_id)
    assert await outcome(store, late.entry_id) == "superseded"


async def test_a_delivery_for_an_unknown_job_is_still_kept_and_closed(store: SurrealStore) -> None:
    message = delivery("no-such-job")
    assert await store.record_delivery(message, grace_s=0)
    applied = await bench.rendered(store, "no-such-job", entry_id=message.entry_id)
    assert applied is Applied.UNKNOWN_JOB
    assert await outcome(store, message.entry_id) == "unknown_job"


async def test_what_a_delivery_said_can_never_be_changed(store: SurrealStore) -> None:
    await store.record_delivery(delivery(), grace_s=LONG_S)
    for change in ("body = <bytes>'x'", "request_id = 'x'", "user_id = 'x'", "stale = true"):
        with pytest.raises(Rejected, match=r"readonly|must conform"):
            await store.database.write(f"UPDATE inbox SET {change}")
    await store.database.write("UPDATE inbox SET body = <bytes>''")  # as deleting does
    with pytest.raises(Rejected, match="must conform"):
        await store.database.write("UPDATE inbox SET body = <bytes>'x'")


async def test_the_audit_counts_what_waits_and_finds_what_nothing_will_handle(
    store: SurrealStore,
) -> None:
    await store.record_delivery(delivery(), grace_s=LONG_S)
    stray = await SurrealAuditStore(store.database).audit_stray()
    assert (stray.waiting, stray.violations) == (1, ())
    await store.database.write("UPDATE inbox SET due = NONE")
    [violation] = await bench.violations(store)
    assert violation.problem == "nothing will handle it"
