"""The restore drill: an older copy of the database comes back, and fal and R2 know better."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database
from service.domain.seal import job_of
from service.flows.audit import audit_bucket
from service.sandbox.object_store import ObjectStore
from service.wiring import prepare
from tests.engine.server import Engine, running_engine
from tests.world import OWNER, World, eventually, open_world


@asynccontextmanager
async def world_on(engine: Engine, s3: ObjectStore) -> AsyncIterator[World]:
    """A world whose database is the engine's."""
    settings = engine.settings()
    database = Database(settings)
    await database.open()
    await prepare(SurrealStore(database), report=lambda _: None)
    await database.close()
    async with open_world(s3, engine.environment(settings.database)) as world:
        yield world


@dataclass(frozen=True, slots=True)
class Backup:
    """One of the two ways of deploy/BACKUP.md: the folder copied while it stands, or an export."""

    kind: str
    engine: Engine
    database: str
    path: Path

    async def take(self) -> None:
        if self.kind == "export":
            await self.engine.export(self.database, self.path)
            return
        await self.engine.stop()
        shutil.copytree(self.engine.folder / "data", self.path)
        await self.engine.start()

    async def restore(self) -> None:
        await self.engine.stop()
        shutil.rmtree(self.engine.folder / "data")
        if self.kind == "copy":
            shutil.copytree(self.path, self.engine.folder / "data")
        await self.engine.start()
        if self.kind == "export":
            await self.engine.load(self.database, self.path)


async def swept(world: World, states: dict[str, int]) -> None:
    async def look() -> bool | None:
        await world.sweep()
        return True if await world.states() == states else None

    await eventually(look)


@pytest.mark.parametrize("kind", ["copy", pytest.param("export", marks=pytest.mark.thorough)])
async def test_an_older_database_is_healed_by_what_fal_and_the_bucket_know(
    s3: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """F76: no second POST, no second capture, no second copy; what is beyond it is listed."""
    async with running_engine(tmp_path / "engine") as engine, world_on(engine, s3) as world:
        await world.grant(400)
        done = await world.submit(brand="done before")
        await world.until(done, "completed")
        await world.faults("drop")
        rendering = await world.submit(brand="at fal")
        await world.until_state(rendering, "submitted")
        await world.faults("submit_429=1")
        waiting = await world.submit(brand="not sent yet")
        await world.quiet()
        await world.until_state(waiting, "reserved")

        backup = Backup(kind, engine, world.settings.surrealdb_database, tmp_path / "backup")
        await backup.take()

        await world.faults("", times=100)
        await swept(world, {"ready": 3})
        lost = await world.submit(brand="after the backup")
        await world.until(lost, "completed")
        posted = (await world.counts())["submits"]
        assert await world.money() == (240, 0, 160)

        caplog.clear()
        await backup.restore()

        assert await world.money() == (280, 80, 40), "the older truth"
        await world.runtime.store.database.write(
            "UPDATE video_job SET updated_at = time::now() - 20m WHERE state = 'reserved'"
        )
        await swept(world, {"ready": 3})

        assert (await world.counts())["submits"] == posted, "what was sent is not sent again"
        assert reused(caplog) == sorted([rendering, waiting]), "what was stored is not stored again"
        assert await world.money() == (280, 0, 120)
        assert (await world.audit()).violations == []
        await said_about_the_lost_one(world, lost)


def reused(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The jobs that were finalised with an object that was there already."""
    facts = [vars(each) for each in caplog.records if each.message == "finalised"]
    assert all(each["reused"] for each in facts)
    return sorted(each["job_id"] for each in facts)


async def said_about_the_lost_one(world: World, lost: str) -> None:
    """The job made after the backup is unknown: its delivery is kept, its object is found."""
    for row in await world.requests():
        await world.http.post(f"{world.sandbox.fal_url}/sandbox/redeliver/{row['request_id']}")
    await world.quiet()

    [entry] = await world.runtime.store.list_deliveries(parked=True, limit=10)
    assert (entry.job_id, entry.outcome) == (lost, "there is no such job in this database")
    report = await world.audit()
    assert report.violations == []
    assert report.deliveries_parked == 1
    store = SurrealAuditStore(world.runtime.store.database)
    await audit_bucket(report, store, world.runtime.services.bucket)
    assert lost in {job_of(each.subject) for each in report.violations}
    assert await world.money(OWNER) == (280, 0, 120)


pytestmark = pytest.mark.timeout(120)
