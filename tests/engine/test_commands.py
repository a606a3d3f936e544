"""The operator's commands and several runners of migrations, against a server."""

import asyncio
import os
import sys

from service.adapters.migrate import find_migrations, migrate, pending
from service.adapters.surreal import Database
from tests.engine.pools import open_stores
from tests.engine.server import Engine
from tests.store import bench

OWNER = "ana@example.com"


async def test_runners_of_several_processes_at_once_apply_each_migration_once(
    engine: Engine,
) -> None:
    """On a database that none of them has been to: one applies, the others wait and find it."""
    settings = engine.settings()
    runners = [Database(settings) for _ in range(3)]
    migrations = find_migrations()

    applied = await asyncio.gather(
        *(migrate(each, migrations, report=lambda _: None) for each in runners)
    )

    assert sorted(applied) == [0, 0, len(migrations)]
    assert await pending(runners[0], migrations) == []
    for each in runners:
        await each.close()


async def test_the_commands_work_on_a_server(engine: Engine) -> None:
    """A grant is refused before the migrations and made after them; a repeat adds nothing."""
    settings = engine.settings()
    grant = f"credits grant {OWNER} 30 --id once"

    out = await commands(engine.environment(settings.database), grant, "migrate", grant, grant)

    assert "run fal-video migrate" in out
    assert out.splitlines()[-1] == "1 0 0 0", out
    async with open_stores(settings, 1) as [store]:
        assert await bench.credits_of(store, OWNER) == (30, 0, 0, 30)


# Starting is what takes long: one process for all of them, each with a connection of its own.
IN_A_ROW = """
import sys
from service.__main__ import main
print(*[main(line.split()) for line in sys.argv[1:]])
"""


async def commands(environment: dict[str, str], *lines: str) -> str:
    """Run command lines one after another; all that they print, and their exit codes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", IN_A_ROW, *lines),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()
