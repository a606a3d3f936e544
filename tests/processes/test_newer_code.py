"""Rows and deliveries of another version of this program, while this one runs."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from service.adapters.rows import inbox_record, job_record
from service.adapters.surreal import Database
from service.domain.inbox import Delivery
from tests.processes.fleet import Customer, Fleet
from tests.processes.running import Process
from tests.world import eventually

SOON_S = 60.0
NEWER = "polished"  # a state that this code does not know
FIELD = "mood"  # and a field
BODY = b'{"form": 2, "events": [{"kind": "frame"}]}'


@contextlib.asynccontextmanager
async def newer_schema(database: Database) -> AsyncIterator[None]:
    """The table as a newer version would migrate it: with one more state and one more field."""
    fields = (await database.read("INFO FOR TABLE video_job"))["fields"]
    define = fields["state"].replace("DEFINE FIELD", "DEFINE FIELD OVERWRITE", 1)
    await database.script(f"DEFINE FIELD OVERWRITE {FIELD} ON video_job TYPE option<string>")
    await database.script(define.replace("'reserved'", f"'{NEWER}', 'reserved'", 1))
    try:
        yield
    finally:
        await database.script(define)
        await database.script(f"REMOVE FIELD {FIELD} ON video_job")


async def put_into(database: Database, job_id: str, state: str, due: str) -> None:
    update = f"UPDATE $job SET state = $state, due = {due}"
    await database.write(update, job=job_record(job_id), state=state)


@pytest.mark.timeout(300)
async def test_what_only_newer_code_understands_stops_no_process_of_this_one(fleet: Fleet) -> None:
    """F75: an unknown state is swept past, an unknown delivery kept, an unknown field untouched."""
    customer = Customer(fleet=fleet, email="newer@example.com")
    await customer.grant(2)
    strange = await customer.order("newer-strange")
    assert (await customer.until(strange, "completed", "failed"))["status"] == "completed"
    database = fleet.store.database

    async with newer_schema(database):
        await put_into(database, strange, NEWER, "time::now()")
        try:
            await eventually(lambda: swept_past(fleet.reconcilers, strange), SOON_S)
            ordinary = await customer.order("newer-ordinary", "drop")
            mood = f"UPDATE $job SET {FIELD} = 'calm'"
            await database.write(mood, job=job_record(ordinary))
            entry_id = await delivered(fleet, ordinary)
            done = await customer.until(ordinary, "completed", "failed")
            await eventually(lambda: kept(database, entry_id), SOON_S)
            row = await database.read("SELECT * FROM ONLY $job", job=job_record(ordinary))
            assert row[FIELD] == "calm", "each write of ours leaves it alone"
            await database.write(f"UPDATE video_job SET {FIELD} = NONE")
        finally:
            await put_into(database, strange, "ready", "NONE")

    assert done["status"] == "completed"
    assert all(each.alive for each in fleet.members)
    assert await fleet.consistent() >= 2


async def delivered(fleet: Fleet, job_id: str) -> str:
    """Record a delivery of a form this code does not know, for the sidecars to find.

    It is of the job's own request: a delivery of another would be adopted by a job that is still
    waiting for the answer to its submission, and that one does not exist at fal.
    """

    async def sent() -> str | None:
        submission = (await fleet.store.job(job_id)).submission
        return submission.request_id if submission else None

    delivery = Delivery(
        job_id=job_id,
        attempt=1,
        request_id=await eventually(sent, SOON_S),
        user_id="sandbox-1234",
        body=BODY,
        stale=False,
    )
    await fleet.store.record_delivery(delivery, grace_s=0)
    return delivery.entry_id


async def kept(database: Database, entry_id: str) -> bool | None:
    """Whether it is kept for a person as it came, with a reason."""
    entry = inbox_record(entry_id)
    row = await database.read("SELECT parked, body, outcome FROM ONLY $entry", entry=entry)
    assert bytes(row["body"]) == BODY
    return True if row["parked"] and row["outcome"] else None


async def swept_past(reconcilers: list[Process], job_id: str) -> bool | None:
    """Whether one of them met the job, and said that it does not understand it."""
    lines = [line for each in reconcilers for line in each.said().splitlines()]
    met = [line for line in lines if "a job's row is not understood" in line and job_id in line]
    return True if met else None
