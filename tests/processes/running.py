"""The real command lines as child processes: sandbox, web, reconciler."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from service.commands.children import STOP_S, child
from service.commands.local import free_port
from service.commands.sandbox import READY
from tests.world import OWNER, SEAL_KEY, SECRET, eventually, png, token

ROOT: Final = Path(__file__).parents[2]
START_S: Final = 60.0  # two seconds on an idle machine
PROGRAM: Final = "service"
ALTERED: Final = "tests.processes.altered"
BRAND: Final = re.compile(r"one of which reads ([\w-]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stand:
    """A sandbox in its own process and the settings that lead to it."""

    environment: dict[str, str]

    @property
    def fal_url(self) -> str:
        return self.environment["FAL_QUEUE_URL"]

    async def plan(self, faults: str, *, match: str | None = None, times: int = 1) -> None:
        """What goes wrong with the next submissions whose prompt contains `match`."""
        plan = {"match": match, "faults": faults, "times": times}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{self.fal_url}/sandbox/faults", json=plan)
            answer.raise_for_status()

    async def requests(self) -> list[dict[str, Any]]:
        """Everything fal has accepted, with its deliveries and counts."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = await client.get(f"{self.fal_url}/sandbox/requests")
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    async def requests_by_brand(self) -> dict[str, list[dict[str, Any]]]:
        """The same by the orders' brands, which the tests never use twice."""
        found: dict[str, list[dict[str, Any]]] = {}
        for each in await self.requests():
            named = BRAND.search(each["prompt"])
            assert named, each["prompt"]
            found.setdefault(named[1], []).append(each)
        return found


@contextlib.asynccontextmanager
async def sandbox_process(folder: Path, *options: str) -> AsyncIterator[Stand]:
    command = ["sandbox", "--frame", "64x36", "--render-seconds", "0", *options]
    async with child(command, os.environ, folder / "sandbox.log", until=READY) as ready:
        yield Stand(environment=dict(line.split("=", 1) for line in ready.lines if "=" in line))


@dataclass(kw_only=True, slots=True)
class Process:
    """A command that can be ended and started again, with the same settings and the same log."""

    command: list[str]
    environment: dict[str, str]
    log: Path
    module: str = PROGRAM
    running: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    @property
    def alive(self) -> bool:
        return self.running is not None and self.running.returncode is None

    async def start(self) -> None:
        """Return once it serves or sweeps: until then it ends if its database is away."""
        with self.log.open("ab") as log:
            told = log.tell()
            self.running = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.module,
                *self.command,
                env={**os.environ, **self.environment},
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if self.command == ["web"]:
            await self._serving()
        if self.command == ["reconciler"]:
            await eventually(lambda: self._sweeping(told), START_S)

    async def _sweeping(self, told: int) -> bool | None:
        """Whether it has said so after what was in the log before."""
        assert self.alive, self.said()[-2000:]
        return True if "sweeping" in self.said(told).splitlines() else None

    async def _serving(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:

            async def look() -> bool | None:
                assert self.alive, self.said()[-2000:]
                try:
                    return (await client.get("/health/live")).is_success or None
                except httpx.TransportError:
                    return None

            await eventually(look, START_S)

    def send(self, number: signal.Signals) -> None:
        assert self.running is not None
        self.running.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once it has one."""
        assert self.running is not None
        async with asyncio.timeout(STOP_S):
            return await self.running.wait()

    async def kill(self) -> None:
        """SIGKILL: no handler, no drain, no goodbye."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    def said(self, after: int = 0) -> str:
        """Its log, but for so many bytes at the beginning."""
        return self.log.read_bytes()[after:].decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Web:
    """A web process, a client signed in as the owner, and the settings it runs with."""

    client: httpx.AsyncClient
    process: asyncio.subprocess.Process
    environment: dict[str, str]

    async def kill(self) -> None:
        """SIGKILL: no handler, no drain, no goodbye."""
        self.process.kill()
        await self.process.wait()

    async def submit(self, brand: str = "A") -> str:
        order = f'{{"templateSlug": "night-life-roller", "variables": {{"BRAND": "{brand}"}}}}'
        answer = await self.client.post(
            "/api/templates/video",
            data={"data": order},
            files={"startImage": ("start.png", png(), "image/png")},
        )
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["jobId"]
        return job_id

    async def status(self, job_id: str) -> dict[str, Any]:
        answer = await self.client.get("/api/templates/video/status", params={"jobId": job_id})
        view: dict[str, Any] = answer.raise_for_status().json()
        return view

    async def until(self, job_id: str, *wanted: str, within_s: float = 60) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            view = await self.status(job_id)
            return view if view["status"] in wanted else None

        return await eventually(look, within_s)


def web_environment(stand: Stand, port: int, **settings: str) -> dict[str, str]:
    """The settings of a web process that lives with a sandbox."""
    return {
        **stand.environment,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        "WEBHOOK_SEAL_KEY": SEAL_KEY,
        "AUTH_JWT_SECRET": SECRET,
        **settings,
    }


@contextlib.asynccontextmanager
async def web_process(stand: Stand, folder: Path, **settings: str) -> AsyncIterator[Web]:
    """`fal-video web` on a free port, or on the PORT given, with its database in `folder`."""
    port = int(settings.get("PORT") or free_port())
    settings = {"SURREALDB_URL": f"surrealkv://{folder / 'data'}", **settings}
    environment = {**os.environ, **web_environment(stand, port, **settings)}
    headers = {"Authorization": f"Bearer {token(OWNER)}"}
    async with (
        child(["web"], environment, folder / "web.log", until="listening") as running,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False
        ) as client,
    ):
        yield Web(client=client, process=running.process, environment=environment)


async def run(
    environment: dict[str, str], *arguments: str, cwd: Path | None = None
) -> tuple[int, str]:
    """Run a command to its end; its exit code and everything it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        PROGRAM,
        *arguments,
        env=environment,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()
