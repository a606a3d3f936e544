"""One rig and one survey of it for all of this directory's tests, on one event loop."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from service.sandbox.object_store import ObjectStore
from tests.crash.explorer import Map, survey
from tests.crash.rig import Rig, open_rig
from tests.loops import share_loop

# moto answers a part of an aborted upload with a page of traceback, and a line for each request
# costs more than some requests.
QUIETED: Final = {
    "werkzeug": logging.CRITICAL,
    "httpx": logging.WARNING,
    "uvicorn.access": logging.WARNING,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    share_loop(items, Path(__file__).parent, "session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rig(s3: ObjectStore) -> AsyncIterator[Rig]:
    with pytest.MonkeyPatch.context() as patched:
        for name, level in QUIETED.items():
            patched.setattr(logging.getLogger(name), "level", level)
        async with open_rig(s3) as opened:
            yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def surveyed(rig: Rig) -> Map:
    return await survey(rig)
