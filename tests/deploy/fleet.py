"""The processes that the units start, with the files that the units name, out of the image."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from service.commands.children import STOP_S
from service.commands.local import free_port
from service.settings import Needs, read_settings
from service.wiring import open_store
from tests.deploy.files import (
    PROGRAM,
    dotenv,
    instructions,
    unit,
    unit_command,
    unit_environment,
)
from tests.deploy.image import Image
from tests.deploy.proxies import HOST, Place
from tests.engine.server import Engine
from tests.processes.running import START_S, Stand
from tests.world import OWNER, SEAL_KEY, SECRET, eventually, token

CREDITS: Final = 1_000
WEB, RECONCILER, MIGRATE = (
    f"fal-video-{each}.service" for each in ("web@", "reconciler", "migrate")
)
# Besides what production sets: the stand-ins, and a sweep that does not look before a test does.
SETTINGS: Final = {
    "ENVIRONMENT": "development",
    "RECONCILE_INTERVAL_S": "0.3",
    "EXPECTED_RENDER_S": "60",
    "WEBHOOK_CANARY_S": "0",  # the test sends it, who trusts the test's authority
}


@dataclass(kw_only=True, slots=True)
class Member:
    """One process: what its unit tells it to do, with nothing of this machine's environment."""

    image: Image
    command: list[str]
    environment: dict[str, str]
    log: Path
    running: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.environment[PORT_OF[self.command[0]]]}"

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.running = await self._exec(PROGRAM + self.command, log)

    async def serving(self) -> None:
        """Return once it answers."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:

            async def look() -> bool | None:
                assert self.running is not None
                assert self.running.returncode is None, self.said()
                with contextlib.suppress(httpx.TransportError):
                    return (await client.get("/health/live")).is_success or None
                return None

            await eventually(look, START_S)

    async def run(self) -> int:
        """Start it and wait for its end; its exit code."""
        await self.start()
        assert self.running is not None
        async with asyncio.timeout(START_S):
            return await self.running.wait()

    async def check(self, script: str) -> int:
        """What the image's own health check, or another one's, says of it."""
        with self.log.open("ab") as log:
            checking = await self._exec(["-c", script], log)
        async with asyncio.timeout(START_S):
            return await checking.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.running is not None
        if self.running.returncode is None:
            self.running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            return await self.running.wait()

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")[-3000:]

    async def _exec(self, arguments: list[str], log: Any) -> asyncio.subprocess.Process:
        # Where the libraries are, on machines that have to say so.
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        return await asyncio.create_subprocess_exec(
            str(self.image.python),
            *arguments,
            env=kept | self.environment,
            cwd=self.image.app,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


PORT_OF: Final = {"web": "PORT", "reconciler": "RECONCILER_PORT"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """Two web processes and a reconciler; `migrate` has ended."""

    stand: Stand
    webs: list[Member]
    reconciler: Member
    migrate: Member
    folder: Path

    async def audit(self) -> None:
        """`audit` must pass. It is run as migrate is, in the image and with the owner's rights."""
        member = Member(
            image=self.migrate.image,
            command=["audit"],
            environment=self.migrate.environment,
            log=self.folder / "audit.log",
        )
        assert await member.run() == 0, member.said()


@dataclass(frozen=True, kw_only=True, slots=True)
class Front:
    """The fleet as the world sees it by way of one proxy."""

    kind: str
    fleet: Fleet
    place: Place

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.place.https}"

    @property
    def plain_url(self) -> str:
        return f"http://{HOST}:{self.place.http}"

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.place.tls / "authority.pem")

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Somebody's, signed in as the owner unless told otherwise."""
        signed_in = {"Authorization": f"Bearer {token(OWNER)}"}
        return httpx.AsyncClient(
            base_url=self.url,
            headers=headers or signed_in,
            verify=self.trusting(),
            timeout=60,
            trust_env=False,
        )


@contextlib.asynccontextmanager
async def running_fleet(
    image: Image, engine: Engine, stand: Stand, folder: Path, place: Place
) -> AsyncIterator[Fleet]:
    """All processes, started in the order that README.md says; fal calls at this place."""
    files = _files(engine, stand, f"https://{HOST}:{place.https}")
    fleet = Fleet(
        stand=stand,
        webs=[_member(WEB, image, files, folder, PORT=str(port)) for port in place.webs],
        reconciler=_member(RECONCILER, image, files, folder, RECONCILER_PORT=str(free_port())),
        migrate=_member(MIGRATE, image, files, folder),
        folder=folder,
    )
    assert await fleet.migrate.run() == 0, fleet.migrate.said()
    async with open_store(read_settings(fleet.migrate.environment, Needs.DATABASE)) as store:
        await store.grant(OWNER, CREDITS, "once")
    started = [*fleet.webs, fleet.reconciler]
    try:
        await asyncio.gather(*(each.start() for each in started))
        await asyncio.gather(*(each.serving() for each in started))
        yield fleet
    finally:
        await asyncio.gather(*(each.stop() for each in started if each.running))


def _files(engine: Engine, stand: Stand, url: str) -> dict[str, dict[str, str]]:
    """What stands in the files that the units name, filled in."""
    database = engine.environment(f"deploy-{secrets.token_hex(4)}")
    known = {
        **stand.environment,
        "PUBLIC_BASE_URL": url,
        "WEBHOOK_SEAL_KEY": SEAL_KEY,
        "AUTH_JWT_SECRET": SECRET,
        **{
            name: secrets.token_hex(32)
            for name in ("SURREALDB_ACCESS_KEY", "OPS_TOKEN", "METRICS_TOKEN")
        },
    }
    service = {name: known.get(name, "") for name in dotenv("service.env.example")}
    names = {name: database[name] for name in ("SURREALDB_NAMESPACE", "SURREALDB_DATABASE")}
    stand_ins = {name: each for name, each in stand.environment.items() if name not in service}
    owner = {name: database.get(name, "") for name in dotenv("database.env.example")}
    return {
        "/etc/fal-video/service.env": service | stand_ins | SETTINGS | names,
        "/etc/fal-video/database.env": owner,
        "address": {"SURREALDB_URL": database["SURREALDB_URL"]},
    }


def _member(
    name: str, image: Image, files: Mapping[str, Mapping[str, str]], folder: Path, **own: str
) -> Member:
    settings = unit(name)
    environment = unit_environment(settings)
    for file in settings["EnvironmentFile"]:
        environment |= files[file]
    assert own.keys() <= environment.keys(), f"{name} has a place for these"
    environment |= {**files["address"], **own}
    # In the image Python's files are compiled; here the first process does it for the others.
    environment.pop("PYTHONDONTWRITEBYTECODE")
    return Member(
        image=image,
        command=unit_command(settings),
        environment=environment,
        log=folder / f"{name}{own.get('PORT', '')}.log",
    )


def health_check() -> str:
    """The script of the image's HEALTHCHECK."""
    words: list[str] = json.loads(instructions("HEALTHCHECK")[0].split("CMD ")[1])
    return words[2]
