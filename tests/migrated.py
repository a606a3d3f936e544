"""The migrations, all in one call: for a database in memory, which is new and nobody else's.

`tests/store/test_migrations.py` holds what this leaves behind against what the runner does.
"""

from collections.abc import Callable, Sequence
from functools import cache

from service.adapters.migrate import _BOOT, Migration, migrate, split_statements
from service.adapters.surreal import Database


async def at_once(
    database: Database, migrations: Sequence[Migration], report: Callable[[str], None]
) -> int:
    """As `migrate`, which also does it wherever there may be rows or another runner."""
    if database.settings.url != "mem://":
        return await migrate(database, migrations, report)
    await database.script(_BOOT)
    await database.script(_text(tuple(migrations)))
    return len(migrations)


@cache
def _text(migrations: tuple[Migration, ...]) -> str:
    """Every statement, and the record that the migration of each has run."""
    statements = []
    for each in migrations:
        # An index of an empty table is complete when it is defined.
        statements += [s.replace("CONCURRENTLY", "") for s in split_statements(each.text)]
        record = f"schema_migration:⟨{each.name}⟩"
        statements.append(f"CREATE {record} SET checksum = '{each.checksum}'")
    return ";\n".join(statements)
