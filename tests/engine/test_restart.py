"""The engine dies, or is stopped, under writers: what was acknowledged is there, and once."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from service.adapters.migrate import find_migrations, migrate
from service.adapters.store import SurrealStore
from service.domain.errors import Transient
from tests.engine.pools import open_stores
from tests.engine.server import Engine, running_engine
from tests.store import bench
from tests.store.bench import LONG_S, delivery
from tests.world import eventually

WRITERS = 4
BURST = 50  # acknowledged writes before the engine is ended, and after it is back

End = Callable[[Engine], Awaitable[object]]


class Writers:
    """Processes that grant credits and record deliveries, each repeated until acknowledged."""

    def __init__(self, stores: list[SurrealStore]) -> None:
        self.acknowledged: list[str] = []
        self.refusals = 0
        self._stopping = False
        self._tasks = [
            asyncio.create_task(self._write(store, f"{at}@example.com"))
            for at, store in enumerate(stores)
        ]

    async def until(self, count: int) -> None:
        """Return once that many more writes have been acknowledged."""
        wanted = len(self.acknowledged) + count

        async def look() -> bool | None:
            for task in self._tasks:
                if task.done():
                    task.result()
            return len(self.acknowledged) >= wanted or None

        await eventually(look)

    async def until_refused(self) -> None:
        """Return once every writer has heard that the engine is away."""
        heard = self.refusals

        async def look() -> bool | None:
            return self.refusals >= heard + WRITERS or None

        await eventually(look)

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _write(self, store: SurrealStore, email: str) -> None:
        for number in itertools.count():
            if self._stopping:
                return
            name = f"{email}-{number}"
            await self._insist(partial(store.grant, email, 1, name))
            message = delivery(name, body=name.encode())
            await self._insist(partial(store.record_delivery, message, grace_s=LONG_S))
            self.acknowledged.append(name)

    async def _insist(self, write: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await write()
            except Transient:
                self.refusals += 1
            else:
                return


async def assert_nothing_lost_or_doubled(store: SurrealStore, names: list[str]) -> None:
    kept = set(await store.database.read("RETURN (SELECT VALUE record::id(job) FROM inbox)"))
    assert kept == set(names)
    assert await store.database.read("RETURN count(SELECT VALUE id FROM inbox)") == len(names)
    granted = await store.database.read("RETURN math::sum((SELECT VALUE granted FROM account))")
    assert granted == len(names)
    assert await bench.violations(store) == []


async def kill(engine: Engine) -> None:
    await engine.kill()


async def stop(engine: Engine) -> None:
    assert await engine.stop() == 0, "a clean end"


async def ended_under_load(folder: Path, ends: list[End]) -> None:
    async with running_engine(folder) as engine, open_stores(engine.settings(), WRITERS) as stores:
        await migrate(stores[0].database, find_migrations(), report=lambda _: None)
        writers = Writers(stores)
        for end in ends:
            await writers.until(BURST)
            await end(engine)
            await writers.until_refused()
            await engine.start()
            await writers.until(BURST)
        await writers.stop()
        await assert_nothing_lost_or_doubled(stores[0], writers.acknowledged)


async def test_what_was_acknowledged_outlives_the_engine(tmp_path: Path) -> None:
    """F36: killed, then stopped, under write load; the same clients go on, nothing is missing."""
    await ended_under_load(tmp_path, [kill, stop])


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_what_was_acknowledged_outlives_twenty_ends_of_the_engine(tmp_path: Path) -> None:
    """F36: killed and stopped ten times each."""
    await ended_under_load(tmp_path, [kill, stop] * 10)


async def test_a_folder_that_another_engine_holds_is_refused_aloud(tmp_path: Path) -> None:
    async with running_engine(tmp_path) as engine:
        rival = Engine(tmp_path)
        with pytest.raises(RuntimeError, match="lock"):
            await rival.start()
        assert rival.url != engine.url
