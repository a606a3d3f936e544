"""fal-video accounts: close an account; its videos are cancelled and deleted, its ledger stays."""

import argparse
from functools import partial

from service.commands.running import FAILED, run_command, say
from service.settings import Needs, Settings
from service.wiring import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    close = actions.add_parser(
        "close",
        help="take no more orders, and delete all its videos; a repeat says how many are left",
    )
    close.add_argument("email")


def run(options: argparse.Namespace) -> int:
    return run_command(partial(close_now, options=options), Needs.DATABASE)


async def close_now(settings: Settings, options: argparse.Namespace) -> int:
    """Close it; the sweeps do the rest, also with what ends only later.

    The account's row with its address and its ledger are kept: they are the books.
    """
    async with open_store(settings) as store:
        if not await store.close_account(options.email):
            say(f"{options.email}: there is no such account")
            return FAILED
        left = await store.count_jobs(options.email)
    if left == 0:
        say(f"{options.email}: closed; no videos of it are left")
    else:
        say(f"{options.email}: closed; the next sweeps cancel and delete what is left: {left} jobs")
    return 0
