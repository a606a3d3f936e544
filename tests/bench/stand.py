"""What the side-by-side measurements of the web process stand on: one engine, two applications."""

import asyncio
import contextlib
import itertools
import secrets
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from service.adapters.store import SurrealStore
from service.commands.local import free_port
from service.domain.job import JobState
from service.settings import Needs, read_settings
from service.wiring import open_store, prepare
from tests.bench import seeded
from tests.bench.deliveries import BARE, OURS, deliveries, lua_script
from tests.bench.wrk import rate
from tests.engine.server import Engine, running_engine
from tests.processes.running import PROGRAM, ROOT, START_S, Process, Stand, web_environment
from tests.store.bench import job_in
from tests.world import eventually

STOP_S: Final = 10.0
LOOK_S: Final = 0.2
REST_SHARE: Final = 0.05  # of a processor: what an idle process uses
RESTED_WITHIN_S: Final = 60.0
TICKS_PER_S: Final = 100
MOST_PER_S: Final = 2_500  # deliveries that either application could take, with room to spare
RESTING: Final = "tests.bench.resting"
# A bench orders faster than people, and its jobs wait for nobody.
SETTINGS: Final = {
    "MAX_IN_FLIGHT": "10000",
    "MAX_AT_FAL": "10000",
    "MAX_SUBMISSIONS_PER_MINUTE": "10000",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class App:
    """An application that runs, and where deliveries go there."""

    process: Process
    webhook: str

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.process.environment["PORT"])

    @property
    def pid(self) -> int:
        assert self.process.running is not None
        return self.process.running.pid


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Engine, sandbox and the applications, each in its own process; `store` is the bench's own."""

    folder: Path
    engine: Engine
    sandbox: Stand
    settings: dict[str, str]
    store: SurrealStore
    http: httpx.AsyncClient
    _stack: contextlib.AsyncExitStack
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def web(self, module: str = PROGRAM, **settings: str) -> App:
        """`fal-video web`, or what `module` makes of it; ended with the bench."""
        port = free_port()
        environment = web_environment(self.sandbox, port, **SETTINGS, **self.settings, **settings)
        return await self._started(["web"], environment, module, OURS)

    async def bare(self) -> App:
        """The application of an afternoon, on the same database."""
        return await self.app("tests.bench.bare", webhook=BARE)

    async def app(self, module: str, *arguments: str, webhook: str = "", **settings: str) -> App:
        """`python -m MODULE PORT ARGUMENTS` with the settings of all the others."""
        port = str(free_port())
        environment = {**self.sandbox.environment, **self.settings, **settings, "PORT": port}
        return await self._started([port, *arguments], environment, module, webhook)

    async def jobs(self, count: int, state: JobState = JobState.READY) -> list[str]:
        """New jobs of the owner, brought to a state by the store's own moves."""
        return [(await job_in(self.store, state)).id for _ in range(count)]

    async def acks(self, app: App, jobs: list[str], seconds: float, connections: int = 16) -> float:
        """Deliveries answered in a second, each its own; then wait until all are handled."""
        made = deliveries(jobs, round(MOST_PER_S * whole(seconds)), app.webhook)
        script = lua_script(self.new_file("acks.lua"), made)
        found = await rate(app.url, whole(seconds), connections=connections, script=script)
        await self.at_rest(app)
        return found

    async def at_rest(self, *apps: App) -> None:
        """Return once neither the applications nor the engine have anything left to do."""
        assert self.engine._process is not None
        pids = [self.engine._process.pid, *(each.pid for each in apps)]

        async def look() -> bool | None:
            before, at = busy_s(*pids), time.perf_counter()
            await asyncio.sleep(LOOK_S)
            share = (busy_s(*pids) - before) / (time.perf_counter() - at)
            return True if share <= REST_SHARE * len(pids) else None

        await eventually(look, RESTED_WITHIN_S)

    def new_file(self, name: str) -> Path:
        return self.folder / f"{next(self._numbers)}-{name}"

    async def _started(
        self, command: list[str], environment: dict[str, str], module: str, webhook: str
    ) -> App:
        log = self.new_file("app.log")
        process = Process(command=command, environment=environment, log=log, module=module)
        await process.start()
        self._stack.push_async_callback(_ended, process)
        app = App(process=process, webhook=webhook)
        await _answers(self.http, app)
        return app


@contextlib.asynccontextmanager
async def running_bench(folder: Path, *, synced: bool = True) -> AsyncIterator[Bench]:
    """An engine on a disk, a sandbox, and a database that the service has migrated."""
    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(running_engine(folder / "engine", synced=synced))
        sandbox = await stack.enter_async_context(_seeded_sandbox(folder))
        settings = engine.environment(f"bench-{secrets.token_hex(4)}")
        needs = read_settings(web_environment(sandbox, 0, **settings), Needs.WORK)
        store = await stack.enter_async_context(open_store(needs, migrated=False))
        await prepare(store, report=lambda _: None)
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60))
        yield Bench(
            folder=folder,
            engine=engine,
            sandbox=sandbox,
            settings=settings,
            store=store,
            http=http,
            _stack=await stack.enter_async_context(contextlib.AsyncExitStack()),
        )


@contextlib.asynccontextmanager
async def _seeded_sandbox(folder: Path) -> AsyncIterator[Stand]:
    with (folder / "sandbox.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.seeded"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        said: dict[str, str] = {}
        async with asyncio.timeout(START_S):
            while (line := (await process.stdout.readline()).decode().strip()) != seeded.READY:
                assert line, "the sandbox did not start"
                name, _, value = line.partition("=")
                said[name] = value
        yield Stand(environment=said)
    finally:
        await _terminated(process)


async def _answers(http: httpx.AsyncClient, app: App) -> None:
    async def look() -> bool | None:
        assert app.process.alive, app.process.said()[-2000:]
        try:
            await http.get(app.url)
        except httpx.TransportError:
            return None
        return True

    await eventually(look, START_S)


async def _ended(process: Process) -> None:
    if process.running is not None:
        await _terminated(process.running)


async def _terminated(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def whole(seconds: float) -> float:
    """wrk counts in whole seconds."""
    return max(1, round(seconds))


def busy_s(*pids: int) -> float:
    """Processor time that these processes have used so far, in seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S
