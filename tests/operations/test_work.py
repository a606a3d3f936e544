"""What operators do about jobs, deliveries and pauses: tried dry first, done once, and told."""

import asyncio
from typing import Any

from service.domain.job import JobState
from tests.operations.conftest import Command, operate, parked
from tests.world import OWNER, World


def whats(receipt: Any) -> list[str]:
    return [each["what"] for each in receipt["steps"]]


async def test_a_receipt_tells_each_step_of_a_video_that_was_made_and_refunded(
    ops: World,
) -> None:
    await ops.grant(40)
    job_id = await ops.submit()
    await ops.until(job_id, "completed")
    await ops.quiet()
    refunds = await asyncio.gather(
        *(operate(ops, "credits.refund", jobId=job_id, reason="wrong brand") for _ in range(3))
    )
    assert [each["changed"] for each in refunds].count(True) == 1

    receipt = await operate(ops, "jobs.show", id=job_id)
    job = await ops.runtime.store.job(job_id)
    steps = {each["what"]: each for each in receipt["steps"]}
    assert whats(receipt)[:4] == ["reserved", "submission begun", "submitted", "delivery received"]
    assert {"rendered", "delivery handled", "captured", "refunded", "in the library"} <= set(steps)
    assert steps["reserved"]["details"] == {"credits": 40, "ledgerId": f"{job_id}/reserve"}
    assert job.submission is not None
    sent = {"attempt": 1, "requestId": job.submission.request_id}
    assert steps["submitted"]["details"] == sent
    assert steps["finalised"]["details"]["sha256"] == job.object_sha256
    assert steps["captured"]["details"]["ledgerId"] == f"{job_id}/settlement"
    assert steps["refunded"]["details"]["reason"] == "wrong brand"
    assert receipt["object"] == {
        "key": job.object_key,
        "bytes": job.object_size,
        "sha256": job.object_sha256,
    }
    assert [each["name"] for each in receipt["actions"]] == ["credits.refund"] * 3
    instants = [each["at"] for each in receipt["steps"] if each["at"]]
    assert instants == sorted(instants)
    assert (await ops.audit()).violations == []


async def test_a_receipt_says_that_it_does_not_know_when_rather_than_guess(ops: World) -> None:
    job_id = await parked(ops, "nobody knows")
    receipt = await operate(ops, "jobs.show", id=job_id)
    [step] = [each for each in receipt["steps"] if each["what"] == "parked"]
    assert (step["at"], step["details"]) == (None, {"reason": "nobody knows"})
    assert whats(receipt) == ["reserved", "submission begun", "submitted", "parked"]
    await operate(ops, "jobs.cancel", id=job_id)
    ended = await operate(ops, "jobs.show", id=job_id)
    assert whats(ended)[3:] == ["cancelled", "released", "operator action"]


async def test_a_parked_job_is_tried_dry_redriven_once_and_goes_on(
    ops: World, command: Command
) -> None:
    """Listed as parked until then; a dry run changes and notes nothing."""
    job_id = await parked(ops)
    before = await ops.runtime.store.job(job_id)
    noted = (await operate(ops, "operations.log"))["actions"]
    dry = await operate(ops, "jobs.redrive", id=job_id, dryRun=True)
    assert (dry["changed"], dry["would"]) == (
        False,
        "go on from submitted with its counts begun anew",
    )
    assert (await command("jobs", "redrive", job_id, "--dry-run")).out.startswith(
        f"{job_id}: would go on"
    )
    assert (await ops.runtime.store.job(job_id)).version == before.version
    assert (await operate(ops, "operations.log"))["actions"] == noted
    listed = (await operate(ops, "jobs.list", parked=True))["jobs"]
    assert job_id in [each["id"] for each in listed]

    done = [await operate(ops, "jobs.redrive", id=job_id) for _ in range(2)]
    assert [each["changed"] for each in done] == [True, False]
    assert "not parked" in done[1]["said"]
    assert done[0]["job"]["parked"] is False
    await ops.sweep()
    assert (await ops.until(job_id, "completed"))["status"] == "completed"


async def test_a_cancel_says_what_it_would_do_in_each_state(ops: World, command: Command) -> None:
    job_id = await parked(ops)
    dry = await operate(ops, "jobs.cancel", id=job_id, dryRun=True)
    assert dry["would"] == "end it now as cancelled and return its 40 credits"
    await operate(ops, "jobs.redrive", id=job_id)
    dry = await operate(ops, "jobs.cancel", id=job_id, dryRun=True)
    assert "ask fal" in dry["would"]
    assert (await ops.runtime.store.job(job_id)).if_finished is None
    wish = [await operate(ops, "jobs.cancel", id=job_id, ifFinished="discard") for _ in range(2)]
    assert [each["changed"] for each in wish] == [True, False]
    assert (await command("jobs", "cancel", job_id, "--if-finished", "discard")).code == 0
    await ops.sweep()
    await ops.until_state(job_id, "failed", "cancelled")
    late = await operate(ops, "jobs.cancel", id=job_id)
    assert (late["changed"], "nothing was changed" in late["said"]) == (False, True)
    assert (await command("jobs", "cancel", job_id)).code == 1


async def test_a_delivery_is_shown_whole_and_no_terminal_obeys_it(
    ops: World, command: Command
) -> None:
    await ops.grant(40)
    job_id = await ops.submit()
    await ops.until(job_id, "completed")
    [entry] = (await operate(ops, "inbox.list", jobId=job_id))["deliveries"]
    for body, shown in [
        (b'{"a": "\x1b]0;owned\x07\xe2\x80\xae"}', '{"a": "\\x1b]0;owned\\x07\\u202e"}'),
        (b"\xff\x1b[2J", "/xtbMko="),
    ]:
        await ops.runtime.store.database.write(
            "{ LET $old = (SELECT * FROM ONLY type::record('inbox', $id)); DELETE $old.id;"
            " CREATE inbox CONTENT object::extend($old, { body: $body }); }",
            id=entry["id"],
            body=body,
        )
        ran = await command("inbox", "show", entry["id"])
        assert ran.out.rstrip("\n").endswith(shown)
        assert "\x1b" not in ran.out
    refused = await operate(ops, "inbox.redrive", id=entry["id"], dryRun=True)
    assert (refused["changed"], refused["would"]) == (False, "nothing")


async def test_what_is_paused_by_hand_waits_and_goes_on_when_it_is_resumed(
    ops: World, command: Command
) -> None:
    """Orders are taken, nothing is sent, no time ends it, and nothing is lost."""
    await ops.quiet()
    for activity, state in (("submitting", "reserved"), ("finalising", "rendered")):
        before = (await ops.counts())["submits"]
        paused = await command("pauses", "pause", activity, "--reason", "maintenance")
        assert (paused.code, "paused" in paused.out) == (0, True)
        await ops.grant(40)
        job_id = await ops.submit()
        await ops.until_state(job_id, state)
        for _ in range(3):
            await ops.sweep()
        job = await ops.runtime.store.job(job_id)
        assert (job.state, job.parked, job.finalise_attempts) == (JobState(state), False, 0)
        assert (await ops.counts())["submits"] - before == (0 if state == "reserved" else 1)
        [pause] = (await operate(ops, "overview"))["pauses"]
        assert (pause["activity"], pause["manual"], pause["until"]) == (activity, True, None)
        assert "by hand" in (await command("overview")).out

        assert (await operate(ops, "pauses.resume", activity=activity))["changed"]
        await ops.sweep()
        assert (await ops.until(job_id, "completed"))["status"] == "completed"
    assert (await operate(ops, "overview"))["pauses"] == []
    assert (await ops.audit()).violations == []
    assert (await ops.money(OWNER))[1] >= 0
