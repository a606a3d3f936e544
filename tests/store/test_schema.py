"""What the schema refuses, whoever writes: changed facts, odd sums, half a row."""

from datetime import datetime

import pytest

from service.adapters.rows import job_record
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database
from service.adapters.surreal_errors import Rejected, Thrown
from service.domain.job import JobState
from service.ports import Applied
from tests.store import bench
from tests.store.bench import LONG_S, OWNER, PRICE, job_in

CHANGES_OF_A_FACT = (
    "credits = 1",
    "kind = 'grant'",
    "account = account:other",
    "job = NONE",
    "at = time::now()",
)


async def test_a_ledger_entry_can_never_be_changed(store: SurrealStore, migrated: Database) -> None:
    """Not even by the database's owner. Who is less than that finds nothing to change."""
    await job_in(store, JobState.READY)
    before = await store.ledger(OWNER, 10)
    for change in CHANGES_OF_A_FACT:
        with pytest.raises(Rejected, match="readonly"):
            await migrated.write(f"UPDATE ledger SET {change} WHERE kind = 'capture'")
        if store.database is not migrated:
            assert await store.database.write(f"UPDATE ledger SET {change}") == []
    assert await store.ledger(OWNER, 10) == before


async def test_an_account_that_does_not_add_up_is_not_written(store: SurrealStore) -> None:
    """F72: at the schema."""
    await job_in(store, JobState.RESERVED)
    for change in ("available += 1", "granted -= 1", "reserved = 0", "captured += 1"):
        with pytest.raises(Thrown, match=r"^account_out_of_balance$"):
            await store.database.write(f"UPDATE account SET {change}")
    assert await bench.credits_of(store) == (0, PRICE, 0, PRICE)


NEGATIVE = (
    "available -= 8, reserved += 8",
    "reserved -= 8, available += 8",
    "captured -= 1, available += 1",
    "granted -= 8, available -= 8",
    "in_flight = -1",
)


async def test_no_amount_becomes_negative(store: SurrealStore) -> None:
    """F72: at the schema."""
    await job_in(store, JobState.RESERVED)
    for change in NEGATIVE:
        with pytest.raises(Rejected, match="must conform to"):
            await store.database.write(f"UPDATE account SET {change}")
    assert await bench.credits_of(store) == (0, PRICE, 0, PRICE)


NEVER_WRITTEN = (
    "credits = 0",
    "account = account:other",
    "email = 'x@y'",
    "created_at = time::now()",
    "state = 'paid'",
    "due = '2030-01-01T00:00:00Z'",
    "fal_model = 1",
    "fal_model = NULL",
    "stranger = 1",
)


async def test_the_schema_refuses_what_no_query_of_ours_writes(store: SurrealStore) -> None:
    job = await job_in(store, JobState.RESERVED)
    before = await bench.row(store, job.id)
    for change in NEVER_WRITTEN:
        with pytest.raises(Rejected):
            await store.database.write(f"UPDATE $job SET {change}", job=job_record(job.id))
    assert await bench.row(store, job.id) == before


async def test_absent_values_are_written_as_absent_and_read_as_none(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTING)
    bare = bench.submission("r1")
    bare = type(bare)(request_id=bare.request_id)
    assert await store.record_submission(job.id, 1, bare, expected_s=LONG_S)
    assert await bench.rendered(store, job.id, "r1", source_url=None) is Applied.RENDERED
    after = await store.job(job.id)
    assert (after.source_url, after.submission) == (None, bare)
    assert not {"source_url", "fal_status_url", "error"} & (await bench.row(store, job.id)).keys()


async def test_instants_are_plain_and_aware(store: SurrealStore) -> None:
    job = await job_in(store, JobState.SUBMITTED)
    for moment in (job.created_at, job.updated_at, job.submitted_at, job.read_at):
        assert type(moment) is datetime
        assert moment.utcoffset() is not None
