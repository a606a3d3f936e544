"""Worlds for the web tests: one of its own for a test that breaks things, one shared for tables."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio

from service.adapters import fal as adapter
from service.sandbox.object_store import ObjectStore
from tests.web.deliveries import SEED
from tests.web.fal_answers import Pair, hang
from tests.web.raw_fal import raw_fal
from tests.world import TINY, World, open_world

KNOWN_KEY = replace(TINY, signing_seed=SEED)
IMAGE_LIMIT = 64 * 1024
PIXEL_LIMIT = 1_000_000


@pytest.fixture
async def world(s3: ObjectStore) -> AsyncIterator[World]:
    """A world of its own, whose fal signs with a key the tests know."""
    async with open_world(s3, sandbox=KNOWN_KEY) as opened:
        yield opened


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def shared(s3: ObjectStore) -> AsyncIterator[World]:
    """One world and one bucket for the tables; each row of a table is another account."""
    async with open_world(
        s3,
        sandbox=replace(KNOWN_KEY, bucket="web-shared"),
        MAX_IMAGE_BYTES=str(IMAGE_LIMIT),
        MAX_IMAGE_PIXELS=str(PIXEL_LIMIT),
    ) as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what never ends well: elsewhere a busy machine may take its time."""
    monkeypatch.setattr(adapter, "SUBMIT_TIMEOUT", httpx.Timeout(0.3, connect=5.0))
    monkeypatch.setattr(adapter, "READ_TIMEOUT_S", 0.3)


@pytest.fixture
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    case = getattr(request.node, "callspec", None)
    if case is not None and hang in case.params.values():
        request.getfixturevalue("impatient")
    async with raw_fal() as found:
        yield found
