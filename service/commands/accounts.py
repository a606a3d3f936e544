"""fal-video accounts: close an account; its videos are cancelled and deleted, its ledger stays."""

import argparse
from typing import Any

from service.commands.asking import ask
from service.commands.running import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    close = actions.add_parser(
        "close",
        help="take no more orders, and delete all its videos; a repeat says how many are left",
    )
    close.add_argument("email")
    close.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    return ask("accounts.close", {"email": options.email}, show_closed, as_json=options.json)


def show_closed(answer: Any) -> None:
    if answer["left"] == 0:
        say(f"{answer['email']}: closed; no videos of it are left")
        return
    left = answer["left"]
    say(f"{answer['email']}: closed; the next sweeps cancel and delete what is left: {left} jobs")
