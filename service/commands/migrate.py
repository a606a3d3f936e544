"""fal-video migrate: brings the database to this code's schema and says what it did."""

import argparse

from service.commands.running import run_command, say
from service.settings import Needs, Settings
from service.wiring import open_store, prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Applies migrations/*.surql in order, each once; a repeat changes nothing."


def run(_: argparse.Namespace) -> int:
    return run_command(migrate_now, Needs.DATABASE)


async def migrate_now(settings: Settings) -> int:
    async with open_store(settings, migrated=False) as store:
        applied = await prepare(store, say)
    say(f"{applied} migrations applied" if applied else "nothing to apply")
    return 0
