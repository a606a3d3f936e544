"""Fixtures every test may use. Real parts throughout; each world is its own."""

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from service.sandbox.object_store import ObjectStore, object_store
from tests import fault_table
from tests.world import World, open_world


def pytest_configure(config: pytest.Config) -> None:
    """The coverage floor and the fault table are the whole suite's: a part is not held to them."""
    part = config.args_source is not pytest.Config.ArgsSource.TESTPATHS or config.option.keyword
    coverage = config.pluginmanager.getplugin("_cov")
    if coverage is not None and part:
        coverage.options.cov_fail_under = 0  # its own copy of the options, taken before this
    fault_table.register(config)


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
