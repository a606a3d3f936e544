"""Fixtures every test may use. Real parts throughout; each world is its own."""

import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from service import wiring
from service.adapters import surreal
from service.sandbox.object_store import ObjectStore, object_store
from tests import fault_table
from tests.migrated import at_once
from tests.parts import thorough
from tests.world import World, open_world

# Folders whose tests take seconds, or share what takes seconds to start: each stays with one worker
# and begins its share, so that none of them ends the run alone.
TOGETHER = (
    ("crash", "doctor"),
    ("browser", "frontend", "quality", "openapi"),
    ("processes", "operations", "keeping"),
)


def pytest_configure(config: pytest.Config) -> None:
    """The coverage floor and the fault table are the whole suite's: a part is not held to them."""
    part = config.args_source is not pytest.Config.ArgsSource.TESTPATHS or config.option.keyword
    coverage = config.pluginmanager.getplugin("_cov")
    if coverage is not None and part:
        coverage.options.cov_fail_under = 0  # its own copy of the options, taken before this
    fault_table.register(config)


def pytest_xdist_auto_num_workers() -> int:
    """One more than processors: about a third of the tests' time is waiting."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for CI, and order the rest as the workers will divide it."""
    if not thorough():
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    starts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for number, folders in enumerate(TOGETHER):
        starts[number % workers] += [each for each in items if each.path.parent.name in folders]
    started = set(map(id, itertools.chain(*starts)))
    others = [item for item in items if id(item) not in started]
    items.clear()
    for number, start in enumerate(starts):
        # What remains is divided evenly, as the scheduler does it.
        size = (sum(map(len, starts[number:])) + len(others)) // (workers - number)
        share = max(size - len(start), 0)
        items += start + others[:share]
        del others[:share]
    items += others


@pytest.fixture(scope="session", autouse=True)
def engines_rest_at_the_end() -> Iterator[None]:
    """A closed engine needs its rest before the process exits, not before the next test."""
    rest_s = surreal.ENGINE_REST_S
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surreal, "ENGINE_REST_S", 0.0)
        yield
    time.sleep(rest_s)


@pytest.fixture(scope="session", autouse=True)
def memory_is_migrated_at_once() -> Iterator[None]:
    """A new database in memory gets its tables in one call: several hundred tests open one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "migrate", at_once)
        yield


@pytest.fixture(autouse=True)
def every_log_line_is_rendered(caplog: pytest.LogCaptureFixture) -> None:
    """A log call can fail (a reserved name among its facts), so each one has to run in tests."""
    caplog.set_level(logging.INFO)


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """One S3 stand-in for the whole run; keys are per job, so tests do not meet in it."""
    with object_store(0) as store:
        yield store


@pytest.fixture
async def world(s3: ObjectStore) -> AsyncIterator[World]:
    """The service with nothing sweeping but the test itself."""
    async with open_world(s3) as opened:
        yield opened
