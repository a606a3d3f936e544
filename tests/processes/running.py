"""The real command lines as child processes: sandbox, web, reconciler."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from service.commands.children import child
from service.commands.local import free_port
from service.commands.sandbox import READY
from tests.world import SEAL_KEY, SECRET, eventually, png, token


@dataclass(frozen=True, kw_only=True, slots=True)
class Stand:
    """A sandbox in its own process and the settings that lead to it."""

    environment: dict[str, str]

    @property
    def fal_url(self) -> str:
        return self.environment["FAL_QUEUE_URL"]


@contextlib.asynccontextmanager
async def sandbox_process(folder: Path, *options: str) -> AsyncIterator[Stand]:
    command = ["sandbox", "--frame", "64x36", "--render-seconds", "0", *options]
    async with child(command, os.environ, folder / "sandbox.log", until=READY) as ready:
        yield Stand(environment=dict(line.split("=", 1) for line in ready.lines if "=" in line))


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

    async def submit(self) -> str:
        answer = await self.client.post(
            "/api/templates/video",
            data={"data": '{"templateSlug": "night-life-roller", "variables": {"BRAND": "A"}}'},
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


@contextlib.asynccontextmanager
async def web_process(stand: Stand, folder: Path, **settings: str) -> AsyncIterator[Web]:
    """`fal-video web` on a free port, or on the PORT given, with its database in `folder`."""
    port = settings.get("PORT") or str(free_port())
    environment = {
        **os.environ,
        **stand.environment,
        "HOST": "127.0.0.1",
        "PORT": port,
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        "WEBHOOK_SEAL_KEY": SEAL_KEY,
        "AUTH_JWT_SECRET": SECRET,
        "SURREALDB_URL": f"surrealkv://{folder / 'data'}",
        **settings,
    }
    headers = {"Authorization": f"Bearer {token()}"}
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
        "service",
        *arguments,
        env=environment,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()
