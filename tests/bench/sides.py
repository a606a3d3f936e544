"""The service and the old design side by side: one fal, one bucket, one database, one browser."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from service.adapters.store import SurrealStore
from service.domain.providers import PROVIDERS
from service.settings import Needs, read_settings
from service.wiring import open_store, prepare
from tests.engine.server import running_engine
from tests.parts import free_ports, program
from tests.processes.running import (
    START_S,
    Process,
    Stand,
    sandbox_process,
    web_environment,
)
from tests.world import eventually, png, token

OLD: Final = "tests.bench.old_design"
TABS: Final = Path(__file__).with_name("tabs.mjs")
DURATION_S: Final = 2
PRICE: Final = PROVIDERS["seedance"].price(DURATION_S)
SLOTS: Final = 200  # nothing waits for a slot at fal
ANSWER_S: Final = 60.0
PATIENCE_S: Final = 240.0  # the longest render here takes two minutes, and some are looked for
ORDERS: Final = {"MAX_IN_FLIGHT": "1000", "MAX_SUBMISSIONS_PER_MINUTE": "10000"}


@dataclass(kw_only=True, slots=True)
class Browser:
    """A Node process with tabs. Each says on the wall clock when it saw its job's video."""

    process: asyncio.subprocess.Process
    numbers: Iterator[int] = field(default_factory=itertools.count)
    waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    async def sees(self, way: str, **job: Any) -> float:
        """Open a tab; the second at which it had the finished video's address."""
        number = next(self.numbers)
        told = self.waiting[number] = asyncio.get_running_loop().create_future()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"tab": number, "way": way, **job}).encode() + b"\n")
        await self.process.stdin.drain()
        async with asyncio.timeout(PATIENCE_S):
            seen = await told
        assert seen.get("video"), seen
        return float(seen["at"]) / 1000

    async def listen(self) -> None:
        """Hand on what is told, until the process ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            told = json.loads(line)
            if not (tab := self.waiting.pop(told["tab"])).done():
                tab.set_result(told)
        for tab in self.waiting.values():
            tab.cancel()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sides:
    """Both are ordered from over HTTP; a brand names an order and is never used twice."""

    stand: Stand
    web: Process
    old: Process
    browser: Browser
    store: SurrealStore
    http: httpx.AsyncClient

    async def order(self, brand: str, faults: str = "") -> dict[str, Any]:
        """Order from the service, as a user of its own; what a tab needs to watch it."""
        email = f"{brand}@example.com"
        await self.store.grant(email, PRICE, brand)
        order = {
            "templateSlug": "night-life-roller",
            "variables": {"BRAND": _said(brand, faults)},
            "duration": DURATION_S,
        }
        bearer = token(email)
        answer = await self.http.post(
            f"{self.web.url}/api/templates/video",
            data={"data": json.dumps(order)},
            files={"startImage": ("start.png", png(), "image/png")},
            headers={"Authorization": f"Bearer {bearer}"},
        )
        job_id = answer.raise_for_status().json()["jobId"]
        return {"url": self.web.url, "jobId": job_id, "token": bearer}

    async def order_old(self, brand: str, faults: str = "") -> dict[str, Any]:
        """The same from the old design, which knows no users."""
        answer = await self.http.post(
            f"{self.old.url}/jobs",
            json={"prompt": prompt(brand, faults), "imageUrl": image_url()},
        )
        job_id = answer.raise_for_status().json()["jobId"]
        return {"url": self.old.url, "jobId": job_id}


def new_brand() -> str:
    return f"b{secrets.token_hex(6)}"


def prompt(brand: str, faults: str = "") -> str:
    """By which the stand-in's records tell the orders apart."""
    return f"A rainy street with signs, one of which reads {_said(brand, faults)} at night."


def image_url() -> str:
    return "data:image/png;base64," + base64.b64encode(png()).decode()


def _said(brand: str, faults: str) -> str:
    return f"{brand} #sandbox:{faults}" if faults else brand


@contextlib.asynccontextmanager
async def running_sides(folder: Path, *, render_s: float, **settings: str) -> AsyncIterator[Sides]:
    """All of them, from nothing; `settings` are the service's own."""
    render = ["--render-seconds", f"{render_s:g}", "--slots", str(SLOTS)]
    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(running_engine(folder / "engine"))
        stand = await stack.enter_async_context(sandbox_process(folder, *render))
        port, old_port = free_ports(2)
        environment = web_environment(stand, port, **ORDERS, **engine.environment("sides"))
        environment |= settings
        store = await stack.enter_async_context(
            open_store(read_settings(environment, Needs.WORK), migrated=False)
        )
        await prepare(store, report=lambda _: None)
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=ANSWER_S))
        old = await stack.enter_async_context(starting_old(environment, old_port, folder))
        reconciler = Process(
            command=["reconciler"], environment=environment, log=folder / "reconciler.log"
        )
        web = Process(command=["web"], environment=environment, log=folder / "web.log")
        for each in (reconciler, web):
            await stack.enter_async_context(_running(each))
        await serving_old(old, http)
        browser = await stack.enter_async_context(running_browser())
        yield Sides(stand=stand, web=web, old=old, browser=browser, store=store, http=http)


@contextlib.asynccontextmanager
async def starting_old(
    environment: dict[str, str], port: int, folder: Path
) -> AsyncIterator[Process]:
    """The old design on `port`, with the service's settings; see serving_old."""
    old = Process(
        command=[str(port)],
        environment={**environment, "PORT": str(port)},
        log=folder / "old.log",
        module=OLD,
    )
    async with _running(old):
        yield old


async def serving_old(old: Process, http: httpx.AsyncClient) -> None:
    """Return once it answers."""

    async def look() -> bool | None:
        assert old.alive, old.said()[-2000:]
        with contextlib.suppress(httpx.TransportError):
            return (await http.get(f"{old.url}/health")).is_success or None
        return None

    await eventually(look, START_S)


@contextlib.asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    process = await asyncio.create_subprocess_exec(
        program("node"),
        str(TABS),
        env=dict(os.environ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    browser = Browser(process=process)
    listening = asyncio.create_task(browser.listen())
    try:
        yield browser
    finally:
        process.kill()
        await process.wait()
        await listening


@contextlib.asynccontextmanager
async def _running(process: Process) -> AsyncIterator[Process]:
    await process.start()
    try:
        yield process
    finally:
        if process.alive:
            await process.kill()  # nothing that it could still do is of interest
