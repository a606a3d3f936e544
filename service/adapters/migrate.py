"""Applies migrations/*.surql in order, each once, checksummed, by one runner at a time."""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from surrealdb import RecordID

from service.adapters.surreal import Database
from service.adapters.surreal_errors import Rejected
from service.domain.errors import ServiceError

LOCK_FOR: Final = "120s"  # renewed before each file; a runner that died blocks no longer
LOCK_WAIT_S: Final = 180.0  # one LOCK_FOR and the work of the runner before us
LOCK_POLL_S: Final = 0.1

# A comment, a quoted text, or any one character.
_PIECES: Final = re.compile(r"--[^\n]*|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|.", re.DOTALL)

# Built while others write; without CONCURRENTLY their rows would be missing from it for good.
_INDEX: Final = re.compile(r"DEFINE INDEX OVERWRITE (\w+) ON (\w+) .*CONCURRENTLY", re.DOTALL)
INDEX_POLL_S: Final = (0.001, 0.1)  # of an empty table, which takes no time; the longest

_BOOT: Final = """
DEFINE TABLE IF NOT EXISTS schema_migration SCHEMAFULL;
DEFINE FIELD IF NOT EXISTS checksum ON schema_migration TYPE string READONLY;
DEFINE FIELD IF NOT EXISTS applied_at ON schema_migration
    TYPE datetime DEFAULT time::now() READONLY;
DEFINE TABLE IF NOT EXISTS schema_lock SCHEMAFULL;
DEFINE FIELD IF NOT EXISTS owner ON schema_lock TYPE string;
DEFINE FIELD IF NOT EXISTS until ON schema_lock TYPE datetime;
"""
_LOCK: Final = """{
    LET $held = (SELECT * FROM ONLY schema_lock:one);
    IF $held != NONE AND $held.until > time::now() AND $held.owner != $me { RETURN false };
    UPSERT schema_lock:one SET owner = $me, until = time::now() + <duration>$lock_for;
    RETURN true;
}"""
_UNLOCK: Final = "DELETE schema_lock:one WHERE owner = $me"
_APPLIED: Final = "SELECT record::id(id) AS name, checksum FROM schema_migration"
_RECORD: Final = "CREATE $migration SET checksum = $checksum"
_MODELS: Final = """{
    RETURN { all: count((SELECT VALUE id FROM video_job)),
        missing: count((SELECT VALUE id FROM video_job WHERE fal_model = NONE)) };
}"""


class MigrationFailed(ServiceError):
    """A migration was edited after it ran, or did not apply. Nothing after it has run."""

    code = "migration_failed"


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@cache
def find_migrations() -> tuple[Migration, ...]:
    """The migrations that belong to this code, in order: beside the package, or inside a wheel."""
    package = Path(__file__).parents[1]
    folder = next(
        each for each in (package / "migrations", package.parent / "migrations") if each.is_dir()
    )
    files = sorted(folder.glob("[0-9]*.surql"))
    return tuple(Migration(each.stem, each.read_text("utf-8")) for each in files)


async def pending(database: Database, migrations: Sequence[Migration]) -> list[str]:
    """Names of migrations that have not run here. Raises MigrationFailed for an edited one."""
    try:
        rows = await database.read(_APPLIED)
    except Rejected:  # a database that no migration has run on lacks even the table of them
        rows = []
    applied = {row["name"]: row["checksum"] for row in rows}
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationFailed(
                f"{migration.name} was edited after it ran; add a new migration instead"
            )
    return [each.name for each in migrations if each.name not in applied]


async def migrate(
    database: Database, migrations: Sequence[Migration], report: Callable[[str], None]
) -> int:
    """Apply what is pending; how many that were. A repeat applies nothing and says so.

    Every statement of a migration can run twice, so a death between a file and its record is
    harmless. Runners in other processes wait for the lock and then find nothing to do.
    """
    await database.script(_BOOT)
    me = secrets.token_hex(8)
    await _acquire(database, me)
    try:
        names = set(await pending(database, migrations))
        for migration in migrations:
            if migration.name not in names:
                report(f"already applied: {migration.name}")
                continue
            await database.write(_LOCK, me=me, lock_for=LOCK_FOR)
            report(f"applying {migration.name}")
            for line in await _apply(database, migration, me):
                report(f"  {line}")
    finally:
        await database.write(_UNLOCK, me=me)
    report(await _models_line(database))
    return len(names)


async def _acquire(database: Database, me: str) -> None:
    async with asyncio.timeout(LOCK_WAIT_S):
        # Another process ends this wait, by letting go or by dying; only asking can tell.
        while not await database.write(_LOCK, me=me, lock_for=LOCK_FOR):  # noqa: ASYNC110
            await asyncio.sleep(LOCK_POLL_S)


async def _apply(database: Database, migration: Migration, me: str) -> list[str]:
    """Run the statements one by one; what they say in words. Stops at the first that fails."""
    said = []
    for number, statement in enumerate(split_statements(migration.text), start=1):
        try:
            result = (await database.script(statement))[-1]
            while _is_batch(result):  # there may be another
                await database.write(_LOCK, me=me, lock_for=LOCK_FOR)
                result = (await database.script(statement))[-1]
        except ServiceError as error:
            where = f"{migration.name}, statement {number}"
            raise MigrationFailed(f"{where}: {error}") from error
        if isinstance(result, str):
            said.append(result)
        if index := _INDEX.search(statement):
            await _built(database, index[1], index[2], me)
    await database.write(
        _RECORD,
        repeatable=False,
        migration=RecordID("schema_migration", migration.name),
        checksum=migration.checksum,
    )
    return said


def _is_batch(result: object) -> bool:
    """Whether a block has said how many rows it changed, and may find more."""
    return isinstance(result, int) and result > 0


async def _built(database: Database, index: str, table: str, me: str) -> None:
    """Return once an index is complete, holding the lock meanwhile. Raises MigrationFailed."""
    pause_s, longest_s = INDEX_POLL_S
    while True:
        building = (await database.read(f"INFO FOR INDEX {index} ON {table}"))["building"]
        if building["status"] == "ready":
            return
        if building["status"] == "error":
            raise MigrationFailed(f"the index {index} on {table}: {building.get('error')}")
        await database.write(_LOCK, me=me, lock_for=LOCK_FOR)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_s)


def split_statements(text: str) -> list[str]:
    """The statements of a script: cut at each `;` outside of brackets, quotes and comments.

    Sent together, the engine would run those that follow a failed one.
    """
    statements, current, depth = [], "", 0
    for piece in _PIECES.findall(text):
        if piece.startswith("--"):
            continue
        depth += (piece in "{([") - (piece in "})]")
        if piece == ";" and depth == 0:
            statements.append(current.strip())
            current = ""
        else:
            current += piece
    return [each for each in [*statements, current.strip()] if each]


async def _models_line(database: Database) -> str:
    counts = await database.read(_MODELS)
    if counts["missing"]:
        return f"fal_model is missing on {counts['missing']} of {counts['all']} jobs"
    return f"fal_model already present on all {counts['all']} jobs"
