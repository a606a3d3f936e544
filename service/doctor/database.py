"""The database: reachable, of a kind that lasts, migrated, writable, and by whom it is used."""

import asyncio
from importlib.metadata import version
from pathlib import Path
from typing import Final

import httpx
from surrealdb import AsyncSurreal

from service.adapters.migrate import MigrationFailed, find_migrations, pending
from service.adapters.permissions import prove_permitted
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database
from service.adapters.surreal_errors import NotPermitted, Unavailable
from service.doctor.checks import Case, Level, Verdict, fail, ok, store_of, warn
from service.settings import Settings
from service.wiring import database_settings

TESTED: Final = "surrealdb-3."
ASK_S: Final = 5.0
SHOWN: Final = 5  # migrations named; the rest is counted
ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - where web listens

_LAST: Final = "SELECT user_id, received_at FROM inbox ORDER BY received_at DESC LIMIT 1"


async def check_database(case: Case) -> Verdict:
    """Open it, as the service does, for this check and those after it."""
    settings = case.settings
    if settings.surrealdb_url.startswith("mem://"):
        seen = "mem:// forgets everything when its process ends"
        judge = warn if settings.development else fail
        return judge(seen, "set SURREALDB_URL to surrealkv://PATH, or to a server")
    if settings.embedded and not await asyncio.to_thread(_folder(settings).exists):
        return Verdict(
            Level.SKIPPED, f"{_where(settings)} is not there yet: fal-video web makes it"
        )
    database = Database(database_settings(settings))
    case.closing.push_async_callback(database.close)
    try:
        await database.open()
    except Unavailable as error:
        return await _not_opened(settings, str(error))
    case.store = SurrealStore(database)
    return await _versioned(settings)


async def check_migrations(case: Case) -> Verdict:
    try:
        missing = await pending(store_of(case).database, find_migrations())
    except MigrationFailed as error:
        return fail(str(error), "restore that file: what has run is never edited")
    if not missing:
        return ok(f"all {len(find_migrations())} applied")
    named = ", ".join(missing[:SHOWN])
    seen = f"{len(missing)} not applied: {named}{', …' if len(missing) > SHOWN else ''}"
    if case.settings.embedded:
        return warn(seen, "start fal-video web, which applies them")
    return fail(seen, "run fal-video migrate")


async def check_writing(case: Case) -> Verdict:
    """Everything the service does to a table, in a transaction that is never committed."""
    try:
        await prove_permitted(store_of(case).database)
    except NotPermitted as error:
        return fail(str(error), "run fal-video migrate with SURREALDB_ACCESS_KEY, as the owner")
    return ok("may do to each table what the service does; nothing of it was kept")


async def check_identity(case: Case) -> Verdict:
    """Whether the service could do more than it has to."""
    if case.settings.embedded:
        return ok("the embedded engine has no users: file permissions guard it")
    access = await store_of(case).database.read("RETURN $session.ac")
    if access:
        return ok(f"signed in as {access}, which can define and remove nothing")
    return warn(
        "signed in as a user who may define and remove tables",
        "set SURREALDB_ACCESS_KEY and run fal-video migrate once more as that user",
    )


async def check_deliveries(case: Case) -> Verdict:
    """Whose deliveries have come: the one place where the account's id can be compared."""
    rows = await store_of(case).database.read(_LAST)
    if not rows:
        return ok("none has come yet: the first will show whether FAL_USER_ID is right")
    signed_for, pinned = str(rows[0]["user_id"]), case.settings.fal_user_id
    seen = f"the last one, of {rows[0]['received_at']:%Y-%m-%d %H:%M}, is signed for {signed_for}"
    if pinned is not None and pinned != signed_for:
        return fail(
            f"{seen}, but FAL_USER_ID is {pinned}: what fal delivers will be refused",
            "correct FAL_USER_ID, or FAL_KEY if that belongs to the wrong account",
        )
    return ok(seen)


def _folder(settings: Settings) -> Path:
    return Path(settings.surrealdb_url.removeprefix("surrealkv://").partition("?")[0])


def _where(settings: Settings) -> str:
    named = f"{settings.surrealdb_namespace}/{settings.surrealdb_database}"
    return f"{settings.surrealdb_url.partition('?')[0]} {named}"


async def _versioned(settings: Settings) -> Verdict:
    where = _where(settings)
    if settings.embedded:
        return ok(f"{where}, embedded {version('surrealdb-embedded')}")
    engine = await _server_version(settings)
    if engine.startswith(TESTED):
        return ok(f"{where}, {engine}")
    return warn(f"{where}, {engine}", "use a server of SurrealDB 3, which this is tested with")


async def _server_version(settings: Settings) -> str:
    """What the server calls itself; asked beside the pool, which runs statements only."""
    async with asyncio.timeout(ASK_S):
        sdk = AsyncSurreal(settings.surrealdb_url)
        await sdk.connect()
        try:
            return str(await sdk.version())
        finally:
            await sdk.close()


async def _not_opened(settings: Settings, reason: str) -> Verdict:
    if settings.embedded and "locked" in reason:
        return Verdict(Level.SKIPPED, f"a running process owns it; {await _said_by_web(settings)}")
    if "authentication" in reason:
        return fail(
            f"{_where(settings)}: the sign-in is refused",
            "correct SURREALDB_USERNAME and SURREALDB_PASSWORD, or SURREALDB_ACCESS_KEY",
        )
    return fail(f"{_where(settings)}: {reason}", "start the database, or correct SURREALDB_URL")


async def _said_by_web(settings: Settings) -> str:
    """What the process that owns the database says of it."""
    host = "127.0.0.1" if settings.host in ANY_ADDRESS else settings.host
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/health/ready"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=ASK_S) as client:
            checks = (await client.get(url)).json()["checks"]
        found = [f"{name} {checks[name]}" for name in ("database", "migrations")]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return "no web process answers at HOST and PORT"
    return f"its /health/ready says {', '.join(found)}"
