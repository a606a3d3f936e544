"""A service with an operators' token on an embedded database, and its command line."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from service.__main__ import main
from service.sandbox.object_store import ObjectStore
from service.settings import Settings
from service.web.control import control_socket
from tests.loops import share_loop
from tests.world import World, open_world

OPS_TOKEN: Final = "an operators' token that is long enough"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as one world serves nearly all of its tests."""
    share_loop(items, Path(__file__).parent)


@pytest.fixture(scope="package")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"surrealkv://{tmp_path_factory.mktemp('operations') / 'data'}"


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def ops(s3: ObjectStore, database: str) -> AsyncIterator[World]:
    """One world for all, whose process listens for commands as `fal-video web` does."""
    async with (
        open_world(s3, SURREALDB_URL=database, OPS_TOKEN=OPS_TOKEN) as world,
        control_socket(world.runtime),
    ):
        yield world


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Command = Callable[..., Awaitable[Ran]]


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    yield
    root.handlers = before
    root.setLevel(level)


@pytest.fixture
def command(
    logging_as_it_was: None,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs `fal-video …` with nothing but the database's address, in a thread of this process."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    async def run(*arguments: str, url: str = database) -> Ran:
        monkeypatch.setenv("SURREALDB_URL", url)
        capsys.readouterr()
        code = await asyncio.to_thread(_main, arguments)
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run


def _main(arguments: tuple[str, ...]) -> int:
    with contextlib.suppress(SystemExit):
        return main(arguments)
    return 2


async def operate(world: World, name: str, /, **arguments: Any) -> Any:
    """An operation over HTTP that must be done; its answer."""
    answer = await world.http.post(
        f"/ops/api/{name}", json=arguments, headers={"Authorization": f"Bearer {OPS_TOKEN}"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def parked(world: World, reason: str = "odd") -> str:
    """A job whose video is made, and which waits for a person."""
    await world.grant(40)
    await world.faults("drop")
    job_id = await world.submit()
    job = await world.until_state(job_id, "submitted")
    assert await world.runtime.store.park(job, reason)
    return job_id
