"""fal-video pauses: what is paused; stop submitting or finalising by hand, and let it go on."""

import argparse
from typing import Any

from service.commands.asking import ask
from service.commands.running import say
from service.commands.tables import moment, plain, say_table
from service.domain.pauses import Activity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    listing = actions.add_parser("list", help="what is paused, since when and why")
    pause = actions.add_parser("pause", help="stop it until it is resumed by hand; orders wait")
    pause.add_argument("--reason", required=True)
    resume = actions.add_parser("resume", help="let it go on, whoever paused it")
    for each in (pause, resume):
        each.add_argument("activity", choices=[each.value for each in Activity])
    for each in (listing, pause, resume):
        each.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    if options.action == "list":
        return ask("pauses.list", {}, show_pauses, as_json=options.json)
    if options.action == "pause":
        given = {"activity": options.activity, "reason": options.reason}
        return ask("pauses.pause", given, show_change, as_json=options.json)
    return ask("pauses.resume", {"activity": options.activity}, show_change, as_json=options.json)


def show_pauses(answer: Any) -> None:
    rows = [
        (
            each["activity"],
            moment(each["since"]),
            "by hand" if each["manual"] else f"next try {moment(each['until'])}",
            each["reason"],
        )
        for each in answer["pauses"]
    ]
    say_table(("activity", "since", "until", "why"), rows)


def show_change(answer: Any) -> None:
    say(plain(answer["said"]))
