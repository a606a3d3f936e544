"""fal-video jobs: list jobs, show one's receipt, redrive or give up a parked one."""

import argparse
from typing import Any

from service.commands.asking import ask
from service.commands.running import say
from service.commands.tables import moment, plain, say_facts, say_steps, say_table
from service.domain.job import FINAL, IfFinished, JobState

SHOWN = 50
NOTHING = "nothing"  # what a dry run would do where there is nothing to do


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listing = actions.add_parser("list", help="the newest jobs, or those that need a person")
    which = listing.add_mutually_exclusive_group()
    which.add_argument("--parked", action="store_true", help="only parked ones, longest first")
    which.add_argument("--due", action="store_true", help="what should have moved, longest first")
    listing.add_argument("--state", choices=[each.value for each in JobState])
    listing.add_argument("--email", help="one owner's, those deleted too")
    listing.add_argument("--before", metavar="ID", help="the page after this job")
    listing.add_argument("--limit", type=int, default=SHOWN)
    show = actions.add_parser("show", help="one job's receipt: every step that is recorded")
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
    for each in (redrive, cancel):
        each.add_argument("--dry-run", action="store_true", help="only say what it would do")
    for each in (listing, show, redrive, cancel):
        each.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    if options.action == "list":
        wanted = {
            "parked": options.parked,
            "due": options.due,
            "state": options.state,
            "email": options.email,
            "before": options.before,
            "limit": options.limit,
        }
        return ask("jobs.list", wanted, show_list, as_json=options.json)
    if options.action == "show":
        return ask("jobs.show", {"id": options.id}, show_receipt, as_json=options.json)
    if options.action == "redrive":
        given = {"id": options.id, "dryRun": options.dry_run}
        return ask("jobs.redrive", given, show_change, as_json=options.json)
    given = {
        "id": options.id,
        "dryRun": options.dry_run,
        "ifFinished": options.if_finished,
    }
    return ask(
        "jobs.cancel", given, show_change, as_json=options.json, failed=nothing_was_cancelled
    )


def nothing_was_cancelled(answer: Any) -> bool:
    """Whether it was too late. A wish that was noted before is as good as a new one."""
    too_late = answer["job"]["state"] in {JobState.RENDERED, *FINAL}
    return too_late and not answer["changed"] and "would" not in answer


def show_list(answer: Any) -> None:
    rows = [
        (
            each["id"],
            each["state"],
            "parked" if each["parked"] else "",
            moment(each["updatedAt"]),
            each["parkedReason"] or each["lastProblem"] or each["error"],
        )
        for each in answer["jobs"]
    ]
    say_table(("id", "state", "", "updated", "why"), rows)
    if answer["nextBefore"]:
        say(f"more: --before {answer['nextBefore']}")


def show_receipt(answer: Any) -> None:
    job = answer["job"]
    say_facts({name: value for name, value in job.items() if value is not False})
    say("steps:")
    say_steps(answer["steps"])
    for title, name in (("ledger", "ledger"), ("requests at fal", "requests")):
        if answer[name]:
            say(f"{title}:")
        for each in answer[name]:
            told = "  ".join(f"{key}={plain(value)}" for key, value in each.items() if value)
            say(f"  {told}")
    for each in answer["deliveries"]:
        said = each["outcome"] or ("parked" if each["parked"] else "waiting")
        say(f"delivery {each['id']}: {plain(said)}")


def said_of(answer: Any) -> str:
    """What was done, or would be, or why nothing is."""
    would = answer.get("would", NOTHING)
    return str(answer["said"] if would == NOTHING else f"would {would}")


def show_change(answer: Any) -> None:
    say(f"{answer['job']['id']}: {plain(said_of(answer))}")
