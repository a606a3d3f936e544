"""Older code beside newer: what it does not know it leaves alone, and nothing else waits for it."""

import json

import pytest

from service.adapters.rows import job_record
from service.flows.reconcile import sweep_once
from service.sandbox.object_store import ObjectStore
from tests.faults.steps import accepted, until_fal_is_done
from tests.web.deliveries import Signer, deliver, inbox, silent_job
from tests.world import World, open_world

# A state, a field and a table that a migration of newer code would add.
NEWER = """{
    DEFINE FIELD OVERWRITE state ON video_job TYPE string;
    DEFINE FIELD OVERWRITE polish ON video_job TYPE option<string>;
    DEFINE TABLE OVERWRITE polishing SCHEMAFULL;
}"""


async def test_a_job_in_a_state_of_newer_code_is_left_alone_and_holds_up_nobody(
    s3: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    """F75: the sweep goes round it, says so, and finishes the others; so do its owner's reads."""
    async with open_world(s3) as world:
        newer = await accepted(world, "drop")
        older = await accepted(world, "drop")
        await until_fal_is_done(world)
        database = world.runtime.store.database
        await database.write(NEWER)
        await database.write(
            "UPDATE $job SET state = 'polishing', polish = 'half', version += 1",
            job=job_record(newer),
        )
        await database.write("UPDATE video_job SET due = time::now() - 1s")

        sweep = await sweep_once(world.runtime.services)
        await world.quiet()

        assert sweep.problems == 0
        assert "not understood" in caplog.text
        assert (await world.runtime.store.job(older)).state.value == "ready"
        row = await database.read("SELECT * FROM ONLY $job", job=job_record(newer))
        assert (row["state"], row["polish"], row["parked"]) == ("polishing", "half", False)
        assert await world.money() == (120, 40, 40)
        read = await world.http.get("/api/library", headers=world.headers())
        assert [each["jobId"] for each in read.json()["items"]] == [older]
        read = await world.http.get(
            "/api/templates/video/status", params={"jobId": newer}, headers=world.headers()
        )
        assert (read.status_code, read.headers["retry-after"]) == (503, "5"), "newer code answers"


async def test_a_delivery_of_a_newer_form_is_kept_as_it_came(world: World) -> None:
    """F75: fields nobody knows are passed over; a status nobody knows waits for a person."""
    await world.grant(100)
    job = await silent_job(world)
    strange = job.message(status="PREVIEW", preview={"frames": [1, 2]})
    headers = Signer().headers(strange, request_id=job.request_id)
    assert (await deliver(world, job.job_id, strange, headers)).status_code == 200
    await world.quiet()
    (row,) = await inbox(world)
    assert (row["parked"], bytes(row["body"])) == (True, strange)

    more = json.loads(job.message()) | {"schema": 3, "billing": {"units": 5}}
    body = json.dumps(more).encode()
    headers = Signer().headers(body, request_id=job.request_id)
    assert (await deliver(world, job.job_id, body, headers)).status_code == 200
    await world.until_state(job.job_id, "ready")
    assert await world.money() == (60, 0, 40)
