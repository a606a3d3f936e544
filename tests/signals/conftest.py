"""One world for what only looks; its metrics are asked for with a token."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from service.sandbox.object_store import ObjectStore
from tests.loops import share_loop
from tests.signals.scraping import TOKEN
from tests.web.deliveries import SEED
from tests.world import TINY, World, open_world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as one world serves most of its tests."""
    share_loop(items, Path(__file__).parent)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def standing(s3: ObjectStore) -> AsyncIterator[World]:
    """A world with a bucket of its own, which a test may take away for a while."""
    sandbox = replace(TINY, signing_seed=SEED, bucket="signals")
    async with open_world(s3, sandbox=sandbox, METRICS_TOKEN=TOKEN) as opened:
        yield opened


@pytest.fixture
def world(standing: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The shared world, which looks at its database at every scrape."""
    monkeypatch.setattr("service.adapters.metrics.FRESH_FOR_S", 0.0)
    return standing
