"""The parts that take seconds to start, once for all tests here: a sandbox, an engine, a fleet."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.engine.server import running_engine
from tests.loops import share_loop
from tests.processes.fleet import HURRY, Fleet, running_fleet
from tests.processes.running import Stand, sandbox_process

# fal's hour of attempts in three minutes; as many renders at a time as there are.
SANDBOX = ("--slots", "64", "--time-scale", "0.05")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as its processes serve all of its tests."""
    share_loop(items, Path(__file__).parent)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with sandbox_process(tmp_path_factory.mktemp("sandbox"), *SANDBOX) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def one_fleet(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    async with (
        running_engine(folder / "engine", synced=False) as engine,
        running_fleet(engine, stand, folder, hurry=HURRY) as fleet,
    ):
        yield fleet


@pytest_asyncio.fixture(loop_scope="package")
async def fleet(one_fleet: Fleet) -> Fleet:
    """Two web processes and two reconcilers, in a hurry, all of them running."""
    await one_fleet.whole()
    return one_fleet
