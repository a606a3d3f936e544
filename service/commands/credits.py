"""fal-video credits: grant credits to an account, give captured ones back, show its balance."""

import argparse
from typing import Any

from service.commands.asking import ask
from service.commands.running import say
from service.commands.tables import moment, say_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    grant = actions.add_parser("grant", help="add credits to an account, which is made if new")
    grant.add_argument("email")
    grant.add_argument("amount", type=int)
    grant.add_argument("--id", help="names this grant: a repeat under the same id adds nothing")
    refund = actions.add_parser(
        "refund", help="make spent credits available again: a job's, once, or an amount"
    )
    refund.add_argument("--job", metavar="ID", help="all that this finished job cost")
    refund.add_argument("--email", help="an amount of what this account has spent")
    refund.add_argument("--amount", type=int)
    refund.add_argument("--id", help="names a refund of an amount, so that a repeat adds nothing")
    refund.add_argument("--reason", required=True, help="kept on the ledger")
    show = actions.add_parser("show", help="an account's balance and latest ledger entries")
    show.add_argument("email")
    for each in (grant, refund, show):
        each.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    if options.action == "grant":
        given = {"email": options.email, "amount": options.amount, "id": options.id}
        return ask("credits.grant", given, show_grant, as_json=options.json)
    if options.action == "refund":
        given = {
            "jobId": options.job,
            "email": options.email,
            "amount": options.amount,
            "id": options.id,
            "reason": options.reason,
        }
        return ask("credits.refund", given, show_refund, as_json=options.json)
    return ask("credits.show", {"email": options.email}, show_credits, as_json=options.json)


def show_grant(answer: Any) -> None:
    did = "granted" if answer["changed"] else "had been granted before; nothing was changed"
    say(f"{answer['email']}: {did}; {answer['available']} available")


def show_refund(answer: Any) -> None:
    did = "refunded" if answer["changed"] else "had been refunded before; nothing was changed"
    say(f"{answer['email']}: {did}; {answer['available']} available")


def show_credits(answer: Any) -> None:
    say(
        f"{answer['email']}: {answer['available']} available, {answer['reserved']} reserved,"
        f" {answer['captured']} spent of {answer['granted']} granted"
    )
    rows = [
        (moment(each["at"]), each["kind"], each["credits"], each["id"], each["reason"])
        for each in answer["entries"]
    ]
    say_table(("at", "kind", "credits", "id", "reason"), rows)
