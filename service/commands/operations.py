"""fal-video operations: what operators had done lately, and by which door."""

import argparse
from typing import Any

from service.commands.asking import ask
from service.commands.tables import moment, say_table

SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    log = actions.add_parser("log", help="the latest, newest first")
    log.add_argument("--limit", type=int, default=SHOWN)
    log.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    return ask("operations.log", {"limit": options.limit}, show_log, as_json=options.json)


def show_log(answer: Any) -> None:
    rows = [
        (
            moment(each["at"]),
            each["door"],
            each["name"],
            "changed" if each["changed"] else "nothing changed",
            "  ".join(f"{name}={value}" for name, value in each["arguments"].items()),
        )
        for each in answer["actions"]
    ]
    say_table(("at", "door", "what", "", "arguments"), rows)
