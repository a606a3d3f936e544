"""What is parked keeps its reservation, is listed, and goes on when a person says so, once."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.__main__ import main
from service.domain.job import JobState
from service.domain.policy import MAX_DELIVERY_ATTEMPTS
from service.sandbox.object_store import ObjectStore
from tests.world import World, eventually, open_world

Command = Callable[..., str]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs `fal-video …` on the database that worlds of this test share, while none is open."""

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setenv("SURREALDB_URL", f"surrealkv://{tmp_path / 'data'}")
        monkeypatch.setenv("ENVIRONMENT", "development")
        capsys.readouterr()
        assert main(arguments) == code
        return capsys.readouterr().out

    return run


async def parked_by_a_taken_key(world: World) -> str:
    """A job whose object's key holds something that this job did not write."""
    await world.grant(100)
    await world.faults("drop")
    job_id = await world.submit()
    job = await world.until_state(job_id, "submitted")
    await world.runtime.services.bucket.put_image(job.object_key, b"a stranger's", "image/png")

    async def parked() -> bool | None:
        await world.sweep()
        return True if (await world.runtime.store.job(job_id)).parked else None

    await eventually(parked)
    return job_id


async def unreadable_delivery(world: World, job_id: str) -> str:
    """An entry that was given up, because its handling failed too often."""
    row = (await world.requests())[0]
    await world.http.post(f"{world.sandbox.fal_url}/sandbox/redeliver/{row['request_id']}")
    await world.quiet()
    [entry_id] = await world.runtime.store.database.read("SELECT VALUE record::id(id) FROM inbox")
    await world.runtime.store.database.write(
        "UPDATE inbox SET handled_at = NONE, outcome = NONE, due = time::now(), attempts = $n",
        n=MAX_DELIVERY_ATTEMPTS,
    )
    await world.sweep()
    return str(entry_id)


def test_a_parked_job_and_delivery_are_shown_and_redriven_by_command(
    s3: ObjectStore, tmp_path: Path, command: Command
) -> None:
    """F61, F71: the reason is told, the reservation kept; redriving twice changes nothing."""
    url = {"SURREALDB_URL": f"surrealkv://{tmp_path / 'data'}"}

    async def break_it() -> tuple[str, str]:
        async with open_world(s3, url) as world:
            job_id = await parked_by_a_taken_key(world)
            entry_id = await unreadable_delivery(world, job_id)
            assert await world.money() == (60, 40, 0)
            job = await world.runtime.store.job(job_id)
            await world.runtime.services.bucket.delete(job.object_key or "")
            return job_id, entry_id

    job_id, entry_id = asyncio.run(break_it())

    shown_whole(command, job_id, entry_id)
    assert "redriven" in command("jobs", "redrive", job_id)
    assert "nothing was changed" in command("jobs", "redrive", job_id)
    assert "redriven" in command("inbox", "redrive", entry_id)
    assert "nothing was changed" in command("inbox", "redrive", entry_id)
    command("jobs", "show", "no-such-job", code=1)
    command("inbox", "show", "no-such-entry", code=1)

    async def finish() -> None:
        async with open_world(s3, url) as world:
            # The stand-in has forgotten the request; what was rendered is known to the job.
            job = await world.runtime.store.job(job_id)
            assert (job.state, job.parked, job.finalise_attempts) == (JobState.RENDERED, False, 0)
            assert await world.runtime.store.list_deliveries(parked=True, limit=5) == []

    asyncio.run(finish())


def shown_whole(command: Command, job_id: str, entry_id: str) -> None:
    assert job_id in command("jobs", "list", "--parked")
    [shown] = json.loads(command("jobs", "list", "--parked", "--json"))["jobs"]
    assert (shown["id"], shown["state"]) == (job_id, "rendered")
    assert "ObjectConflict" in shown["parkedReason"]
    whole = json.loads(command("jobs", "show", job_id, "--json"))
    assert [each["kind"] for each in whole["ledger"]] == ["reserve"]
    assert [each["id"] for each in whole["deliveries"]] == [entry_id]
    assert entry_id in command("inbox", "list", "--parked")
    assert json.loads(command("inbox", "show", entry_id, "--json"))["body"].startswith("{")
    assert command("jobs", "list", "--state", "ready") == "none\n"


async def test_two_operators_who_redrive_at_once_cause_one_capture(world: World) -> None:
    """F71: the object is gone that stood in the way, and both press the button."""
    job_id = await parked_by_a_taken_key(world)
    job = await world.runtime.store.job(job_id)
    await world.runtime.services.bucket.delete(job.object_key or "")

    redriven = await asyncio.gather(*(world.runtime.store.redrive(job_id) for _ in range(8)))
    assert redriven.count(True) == 1
    await world.sweep()

    assert (await world.runtime.store.job(job_id)).state is JobState.READY
    assert await world.money() == (60, 0, 40)
    assert (await world.audit()).violations == []


def test_a_parked_job_is_given_up_by_command_and_its_credits_return(
    s3: ObjectStore, tmp_path: Path, command: Command
) -> None:
    url = {"SURREALDB_URL": f"surrealkv://{tmp_path / 'data'}"}

    async def break_it() -> str:
        async with open_world(s3, url) as world:
            return await parked_by_a_taken_key(world)

    job_id = asyncio.run(break_it())
    assert "credits returned" in command("jobs", "cancel", job_id)
    assert "nothing was changed" in command("jobs", "cancel", job_id, code=1)
    assert json.loads(command("jobs", "show", job_id, "--json"))["job"]["state"] == "cancelled"
    assert command("audit", "--no-objects").endswith("audit passed\n")
