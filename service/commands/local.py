"""The whole service on this machine: stand-ins, database, web process, a user with credits."""

import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.commands.children import child
from service.commands.sandbox import READY
from service.settings import Needs, Settings, read_settings
from service.wiring import open_store

USER: Final = "you@example.com"
CREDITS: Final = 1_000

# What would lead a child elsewhere than to this machine's stand-ins.
_OWN_SETTINGS: Final = tuple(name.upper() for name in Settings.model_fields)


@dataclass(frozen=True, kw_only=True, slots=True)
class Local:
    """A running service. `environment` starts any other command beside it."""

    url: str
    environment: Mapping[str, str]
    sandbox_url: str | None
    logs: Path


@contextlib.asynccontextmanager
async def sandbox_environment(options: list[str], log: Path) -> AsyncIterator[dict[str, str]]:
    """The stand-ins as a child process; yields the settings that lead to them."""
    async with child(["sandbox", *options], _plain_environment(), log, until=READY) as running:
        yield dict(line.split("=", 1) for line in running.lines if "=" in line)


@contextlib.asynccontextmanager
async def running_web(
    settings: Mapping[str, str], folder: Path, *, port: int, sandbox_url: str | None
) -> AsyncIterator[Local]:
    """A web process on `port` (0: any free one) with `settings` over the local defaults."""
    port = port or free_port()
    environment = {
        **_plain_environment(),
        "ENVIRONMENT": "development",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        "SURREALDB_URL": f"surrealkv://{folder / 'data'}",
        "AUTH_DEVELOPMENT_USER": USER,
        "WEBHOOK_SEAL_KEY": secrets.token_urlsafe(32),
        **settings,
    }
    await _prepare(environment)
    log = folder / "web.log"
    async with child(["web"], environment, log, until="listening"):
        yield Local(
            url=f"http://127.0.0.1:{port}",
            environment=environment,
            sandbox_url=sandbox_url,
            logs=log,
        )


async def _prepare(environment: Mapping[str, str]) -> None:
    """Migrate, ship the templates, and mint the development user's credits, once."""
    settings = read_settings(environment, Needs.WEB)
    async with open_store(settings) as store:
        await store.grant(USER, CREDITS, "development")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OWN_SETTINGS}
