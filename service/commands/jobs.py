"""fal-video jobs: list jobs, show one with its whole story, redrive or give up a parked one."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from service.adapters.store import SurrealStore
from service.commands.running import FAILED, run_command, say, say_json
from service.domain.inbox import InboxEntry
from service.domain.job import FINAL, IfFinished, Job, JobState
from service.flows.cancel import give_up
from service.settings import Needs, Settings
from service.web.views import instant
from service.wiring import open_store

SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listing = actions.add_parser("list", help="the newest jobs, or those that need a person")
    listing.add_argument("--parked", action="store_true", help="only parked ones, longest first")
    listing.add_argument("--state", choices=[each.value for each in JobState])
    listing.add_argument("--limit", type=int, default=SHOWN)
    show = actions.add_parser("show", help="everything that is known about one job")
    redrive = actions.add_parser("redrive", help="give a parked job another start")
    cancel = actions.add_parser(
        "cancel", help="give a job up: a parked one at once, any other by asking fal"
    )
    cancel.add_argument(
        "--if-finished",
        choices=[each.value for each in IfFinished],
        default=IfFinished.KEEP.value,
        help="what to do with the video if fal finishes all the same",
    )
    for each in (show, redrive, cancel):
        each.add_argument("id")
    for each in (listing, show):
        each.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    actions = {
        "list": list_now,
        "show": show_now,
        "redrive": redrive_now,
        "cancel": cancel_now,
    }
    return run_command(partial(actions[options.action], options=options), Needs.DATABASE)


async def list_now(settings: Settings, options: argparse.Namespace) -> int:
    state = JobState(options.state) if options.state else None
    async with open_store(settings) as store:
        jobs = await store.find_jobs(parked=options.parked, state=state, limit=options.limit)
    if options.json:
        say_json([job_facts(each) for each in jobs])
        return 0
    for each in jobs:
        why = each.parked_reason or each.last_problem or ""
        mark = "parked" if each.parked else ""
        say(f"{each.id:<34} {each.state:<14} {mark:<6} {each.updated_at:%Y-%m-%d %H:%M}  {why}")
    if not jobs:
        say("none")
    return 0


async def show_now(settings: Settings, options: argparse.Namespace) -> int:
    async with open_store(settings) as store:
        job = await store.job(options.id)
        entries = await store.find_deliveries(parked=False, job_id=job.id, limit=SHOWN)
        facts = job_facts(job) | {
            "deliveries": [entry_facts(each) for each in entries],
            "ledger": await _ledger(store, job),
        }
    if options.json:
        say_json(facts)
        return 0
    for name, value in facts.items():
        if isinstance(value, list):
            say(f"{name}:")
            for each in value:
                say("  " + "  ".join(f"{key}={told}" for key, told in each.items()))
        elif value is not None:
            say(f"{name:<20} {value}")
    return 0


async def redrive_now(settings: Settings, options: argparse.Namespace) -> int:
    async with open_store(settings) as store:
        job = await store.job(options.id)
        if await store.redrive(options.id):
            say(f"{options.id}: redriven from {job.state}; the next sweep takes it up")
        else:
            say(f"{options.id}: is {job.state} and not parked; nothing was changed")
    return 0


async def cancel_now(settings: Settings, options: argparse.Namespace) -> int:
    async with open_store(settings) as store:
        job = await store.job(options.id)
        if job.parked:
            closed = await give_up(store, job)
            say(f"{job.id}: {'given up, credits returned' if closed else 'has moved on meanwhile'}")
            return 0 if closed else FAILED
        if await store.request_cancel(job.id, IfFinished(options.if_finished)):
            say(f"{job.id}: noted; the next sweep asks fal to stop it")
            return 0
        ended = "has ended" if job.state in FINAL else "is rendered"
        say(f"{job.id}: {ended} ({job.state}); nothing was changed")
    return FAILED


def job_facts(job: Job) -> dict[str, Any]:
    """A job for an operator: names as in the table, instants as text."""
    return {
        "id": job.id,
        "owner": job.owner,
        "state": job.state.value,
        "status": job.status.value,
        "parked": job.parked,
        "parkedReason": job.parked_reason,
        "lastProblem": job.last_problem,
        "error": f"{job.error.code}: {job.error.message}" if job.error else None,
        "credits": job.credits,
        "provider": job.provider,
        "model": job.fal_model,
        "requestId": job.submission.request_id if job.submission else None,
        "pastRequests": list(job.past_requests) or None,
        "submitAttempts": job.submit_attempts,
        "finaliseAttempts": job.finalise_attempts,
        "fence": job.fence,
        "cancelIfFinished": job.if_finished.value if job.if_finished else None,
        "recovers": job.recovers,
        "objectKey": job.object_key,
        "objectBytes": job.object_size,
        "objectSha256": job.object_sha256,
        "version": job.version,
        **{
            name: instant(moment) if moment else None
            for name, moment in {
                "createdAt": job.created_at,
                "submittedAt": job.submitted_at,
                "renderedAt": job.rendered_at,
                "finishedAt": job.finished_at,
                "deletedAt": job.deleted_at,
                "updatedAt": job.updated_at,
                "due": job.due,
            }.items()
        },
    }


def entry_facts(entry: InboxEntry) -> dict[str, Any]:
    """An inbox entry without its body."""
    return {
        "id": entry.id,
        "jobId": entry.job_id,
        "requestId": entry.request_id,
        "attempt": entry.attempt,
        "bytes": len(entry.body),
        "stale": entry.stale,
        "attempts": entry.attempts,
        "receivedAt": instant(entry.received_at),
        "handledAt": instant(entry.handled_at) if entry.handled_at else None,
        "parked": entry.parked,
        "outcome": entry.outcome,
    }


async def _ledger(store: SurrealStore, job: Job) -> Sequence[dict[str, Any]]:
    return [
        {"id": each.id, "kind": each.kind.value, "credits": each.credits, "at": instant(each.at)}
        for each in await store.job_ledger(job.id)
    ]
