"""fal-video credits: grant credits to an account, show its balance and ledger."""

import argparse
import secrets
from functools import partial

from service.commands.running import run_command, say, say_json
from service.domain.credits import check_grant
from service.settings import Needs, Settings
from service.web.views import credits_view
from service.wiring import open_store

SHOWN_ENTRIES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    grant = actions.add_parser("grant", help="add credits to an account, which is made if new")
    grant.add_argument("email")
    grant.add_argument("amount", type=int)
    grant.add_argument("--id", help="names this grant: a repeat under the same id adds nothing")
    show = actions.add_parser("show", help="an account's balance and latest ledger entries")
    show.add_argument("email")
    for each in (grant, show):
        each.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    act = grant_now if options.action == "grant" else show_now
    return run_command(partial(act, options=options), Needs.DATABASE)


async def grant_now(settings: Settings, options: argparse.Namespace) -> int:
    check_grant(options.email, options.amount)
    async with open_store(settings) as store:
        grant_id = options.id or secrets.token_hex(8)
        balance = await store.grant(options.email, options.amount, grant_id)
    if options.json:
        say_json({"grantId": grant_id, "available": balance.available, "granted": balance.granted})
    else:
        say(f"granted {options.amount} credits to {options.email}: {balance.available} available")
    return 0


async def show_now(settings: Settings, options: argparse.Namespace) -> int:
    async with open_store(settings) as store:
        balance = await store.balance(options.email)
        entries = await store.ledger(options.email, SHOWN_ENTRIES)
    view = credits_view(balance, entries)
    if options.json:
        say_json(view)
        return 0
    say(f"{options.email}: {balance.available} available, {balance.reserved} reserved")
    for entry in entries:
        say(f"  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.kind:<8} {entry.credits:>8}  {entry.id}")
    return 0
