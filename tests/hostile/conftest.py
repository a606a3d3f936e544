"""One world, one real web process and one guard against calls out of this machine for all here."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from service.sandbox.object_store import ObjectStore
from tests.hostile.site import Site, running_site
from tests.hostile.wire import watched
from tests.loops import share_loop
from tests.web.deliveries import SEED
from tests.world import TINY, World, open_world

OPEN_HANDED = {"MAX_SUBMISSIONS_PER_MINUTE": "10000", "MAX_IN_FLIGHT": "10000"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as its world and its process serve all of its tests."""
    share_loop(items, Path(__file__).parent)


@pytest.fixture(autouse=True)
def no_packet_leaves() -> Iterator[None]:
    with watched() as left:
        yield
    assert left == []


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def shared(s3: ObjectStore) -> AsyncIterator[World]:
    """A world whose fal signs with a key that the tests know."""
    settings = replace(TINY, signing_seed=SEED, bucket="hostile")
    async with open_world(s3, sandbox=settings, given=OPEN_HANDED) as opened:
        yield opened


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A web process in front of a sandbox process, with a store that can be made to fail."""
    assert not any(name.lower().endswith("_proxy") for name in os.environ), "loopback, directly"
    async with running_site(tmp_path_factory.mktemp("site"), OPEN_HANDED) as running:
        yield running
