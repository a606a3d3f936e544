"""One world for this directory, as if new for each test.

A world of its own costs a test half a second of starting and stopping. So the tests share one,
and before each of them its rows, and all that its fal knows, are taken away. What breaks the
world itself (settings, keys, processes) still opens its own.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from service.sandbox.object_store import ObjectStore
from tests.loops import share_loop
from tests.web.deliveries import SEED
from tests.world import TINY, World, open_world

KNOWN_KEY: Final = replace(TINY, signing_seed=SEED, bucket="faults")
KEPT: Final = {"schema_migration", "template"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as one world serves nearly all of its tests."""
    share_loop(items, Path(__file__).parent)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def standing(s3: ObjectStore) -> AsyncIterator[World]:
    async with open_world(s3, sandbox=KNOWN_KEY) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="package")
async def world(standing: World) -> World:
    """The shared world with nothing in it, nothing on its way, and nothing sweeping."""
    await forget(standing)
    return standing


async def forget(world: World) -> None:
    """End what the test before left running, here and at fal, and remove what it wrote."""
    await world.http.post(f"{world.sandbox.fal_url}/sandbox/reset")
    await world.quiet()
    database = world.runtime.store.database
    known = await database.read("INFO FOR DB")
    used = sorted(set(known["tables"]) - KEPT)
    await database.write("{ " + " ".join(f"DELETE {table};" for table in used) + " }")
    # A submission that was under way may have reached fal after the first reset.
    await world.http.post(f"{world.sandbox.fal_url}/sandbox/reset")
