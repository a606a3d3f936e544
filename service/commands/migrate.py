"""fal-video migrate: brings the database to this code's schema and says what it did."""

import argparse
from functools import partial

from service.adapters.permissions import define_identity, other_identities, remove_identity
from service.adapters.surreal import Database
from service.commands.running import BAD_USE, complain, run_command, say
from service.settings import Needs, Settings
from service.wiring import open_store, prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Applies migrations/*.surql in order, each once; a repeat changes nothing. With"
        " SURREALDB_ACCESS_KEY it also defines the identity that web and reconciler sign in as."
    )
    parser.add_argument(
        "--only-this-key",
        action="store_true",
        help="remove the identities of all other keys: the last step of changing the key",
    )


def run(options: argparse.Namespace) -> int:
    return run_command(partial(migrate_now, only_this_key=options.only_this_key), Needs.DATABASE)


async def migrate_now(settings: Settings, *, only_this_key: bool = False) -> int:
    if not settings.owns_database:
        return complain("migrate needs SURREALDB_USERNAME and SURREALDB_PASSWORD", BAD_USE)
    async with open_store(settings, migrated=False) as store:
        applied = await prepare(store, say)
        if settings.surrealdb_access_key is not None and not settings.embedded:
            key = settings.surrealdb_access_key.get_secret_value()
            await define_keys(store.database, key, only=only_this_key)
    say(f"{applied} migrations applied" if applied else "nothing to apply")
    return 0


async def define_keys(database: Database, key: str, *, only: bool) -> None:
    """Define the key's identity, which is done anew each time; say which others there are."""
    say(f"identity for rows only: {await define_identity(database, key)}")
    for other in await other_identities(database, key):
        if only:
            await remove_identity(database, other)
            say(f"identity of another key removed: {other}")
        else:
            say(f"identity of another key kept: {other} (--only-this-key removes it)")
