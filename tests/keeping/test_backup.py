"""What deploy/BACKUP.md says, done: nothing is missing afterwards, and nobody else gets in."""

import shutil
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest

from service.adapters.identity import Identity
from service.adapters.migrate import find_migrations, pending
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database
from service.commands.local import free_port
from service.commands.migrate import migrate_now
from service.domain.errors import Transient
from service.domain.job import JobState
from service.settings import Needs, read_settings
from tests.engine.server import Engine, running_engine
from tests.keeping.conftest import KEY, as_identity
from tests.processes.running import Stand, run, sandbox_process, web_environment, web_process
from tests.store import bench
from tests.store.bench import LONG_S, job_in

OLD_KEY = "the key before this one, of thirty-two"
REDACTED = "[REDACTED]"  # what an export has where a key was


@asynccontextmanager
async def opened(engine: Engine, name: str) -> AsyncIterator[Database]:
    database = Database(engine.settings(name))
    try:
        await database.open()
        yield database
    finally:
        await database.close()


async def content(database: Database) -> dict[str, Any]:
    """Every definition and every row."""
    tables = (await database.read("INFO FOR DB"))["tables"]
    found: dict[str, Any] = {"tables": tables}
    for name in tables:
        found[f"{name}, its definitions"] = await database.read(f"INFO FOR TABLE {name}")
        found[name] = await database.read(f"SELECT * FROM {name}")
    return found


async def migrated(engine: Engine, name: str, key: str, *, only: bool = False) -> None:
    environment = engine.environment(name) | {"SURREALDB_ACCESS_KEY": key}
    assert await migrate_now(read_settings(environment, Needs.DATABASE), only_this_key=only) == 0


@pytest.mark.thorough
async def test_an_export_brings_every_row_back_and_leaves_no_door_open(tmp_path: Path) -> None:
    """F76: an export has no keys in it: what it restores would let anybody in who knows that."""
    async with running_engine(tmp_path, synced=False) as engine:
        for key in (OLD_KEY, KEY):
            await migrated(engine, "one", key)
        async with opened(engine, "one") as database:
            store = SurrealStore(database)
            for state in JobState:
                await job_in(store, state)
            await store.record_delivery(bench.delivery(body=bytes(range(256))), grace_s=LONG_S)
            before = await content(database)
        await engine.export("one", tmp_path / "export.surql")
        async with opened(engine, "two"):
            pass  # the first to name it makes it
        await engine.load("two", tmp_path / "export.surql")

        async with opened(engine, "two") as database:
            assert await content(database) == before
            assert await pending(database, find_migrations()) == []
            assert await lets_in(engine, "two", OLD_KEY), "as the export left it"
            await migrated(engine, "two", KEY, only=True)
            for each in (OLD_KEY, KEY):
                assert not await lets_in(engine, "two", each)
        service = Database(as_identity(engine.settings("two")))
        await service.open()
        assert await bench.violations(SurrealStore(service)) == []
        await service.close()


class Forged(Identity):
    """Knows which key it pretends to have, and signs with what an export has in its place."""

    def token(self) -> str:
        claims = jwt.decode(Identity.token(self), options={"verify_signature": False})
        with warnings.catch_warnings(action="ignore"):  # it is too short for a key
            return jwt.encode(claims, REDACTED, "HS256")


async def lets_in(engine: Engine, name: str, key: str) -> bool:
    settings = engine.settings(name)
    identity = Forged(key=key, namespace=settings.namespace, database=settings.database)
    database = Database(replace(settings, identity=identity))
    try:
        await database.open()
    except Transient:
        return False
    finally:
        await database.close()
    return True


@pytest.mark.thorough
@pytest.mark.timeout(300)
async def test_a_copied_folder_is_healed_like_any_older_database(tmp_path: Path) -> None:
    """F76: the embedded engine: stop, copy, start; later stop, put the copy back, start."""
    folder, copy = tmp_path / "data", tmp_path / "copy"
    async with sandbox_process(tmp_path, "--time-scale", "0.05") as stand:
        settings = {"PORT": str(free_port()), "RECONCILE_INTERVAL_S": "0.5"}
        settings |= {"EXPECTED_RENDER_S": "3"}
        await granted(stand, folder)
        async with web_process(stand, tmp_path, **settings) as web:
            before = await web.submit("before")
            await web.until(before, "completed")
            await stand.plan("drop")
            rendering = await web.submit("rendering")
        shutil.copytree(folder, copy)
        async with web_process(stand, tmp_path, **settings) as web:
            await web.until(rendering, "completed")
            after = await web.submit("after")
            await web.until(after, "completed")
        posted = len(await stand.requests())
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
        async with web_process(stand, tmp_path, **settings) as web:
            assert (await web.until(rendering, "completed"))["status"] == "completed"
            assert (await web.status(before))["status"] == "completed"
            gone = await web.client.get("/api/templates/video/status", params={"jobId": after})
            assert gone.status_code == 404
        assert len(await stand.requests()) == posted, "nothing is sent a second time"
        code, said = await run(environment(stand, folder), "audit", "--orphans")
    assert after in said, "what the backup does not know is found in the bucket"
    assert (code, said.count("a video of no job")) == (1, 1), said


def environment(stand: Stand, folder: Path) -> dict[str, str]:
    return web_environment(stand, 1, SURREALDB_URL=f"surrealkv://{folder}")


async def granted(stand: Stand, folder: Path) -> None:
    code, said = await run(environment(stand, folder), "credits", "grant", bench.OWNER, "400")
    assert code == 0, said
