"""fal-video inbox: fal's deliveries that wait or need a person; show one, redrive a parked one."""

import argparse
import base64
import sys
from typing import Any

from service.commands.asking import ask
from service.commands.jobs import said_of
from service.commands.running import say
from service.commands.tables import moment, plain, safe, say_facts, say_table

SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listing = actions.add_parser("list", help="deliveries that are still to be handled")
    which = listing.add_mutually_exclusive_group()
    which.add_argument("--parked", action="store_true", help="those that need a person instead")
    which.add_argument("--recent", action="store_true", help="all, newest first")
    which.add_argument("--job", metavar="ID", help="all of one job's")
    listing.add_argument("--limit", type=int, default=SHOWN)
    show = actions.add_parser("show", help="one delivery, with its raw body")
    show.add_argument("--raw", action="store_true", help="only the body's bytes, for a file")
    redrive = actions.add_parser("redrive", help="have a parked delivery handled once more")
    redrive.add_argument("--dry-run", action="store_true", help="only say what it would do")
    for each in (show, redrive):
        each.add_argument("id")
    for each in (listing, show, redrive):
        each.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    if options.action == "list":
        wanted = {
            "parked": options.parked,
            "recent": options.recent,
            "jobId": options.job,
            "limit": options.limit,
        }
        return ask("inbox.list", wanted, show_list, as_json=options.json)
    if options.action == "show":
        shown = show_raw if options.raw else show_one
        return ask("inbox.show", {"id": options.id}, shown, as_json=options.json)
    given = {"id": options.id, "dryRun": options.dry_run}
    return ask(
        "inbox.redrive",
        given,
        lambda answer: say(f"{options.id}: {plain(said_of(answer))}"),
        as_json=options.json,
    )


def show_list(answer: Any) -> None:
    rows = [
        (
            each["id"],
            moment(each["receivedAt"]),
            each["jobId"],
            each["bytes"],
            each["outcome"] or "waiting",
        )
        for each in answer["deliveries"]
    ]
    say_table(("id", "received", "job", "bytes", "what became of it"), rows)


def show_one(answer: Any) -> None:
    """The facts, then the body: as text that no terminal obeys, or as base64."""
    say_facts({name: value for name, value in answer.items() if not name.startswith("body")})
    if answer["body"] is None:
        say("body, which is no UTF-8, as base64:")
        say(answer["bodyBase64"])
        return
    say("body:")
    say(safe(answer["body"]))


def show_raw(answer: Any) -> None:
    sys.stdout.buffer.write(base64.b64decode(answer["bodyBase64"]))
    sys.stdout.flush()
