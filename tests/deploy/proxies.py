"""The proxies of deploy/proxies, running on loopback: other ports, other folders, a test's TLS."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.deploy.files import DEPLOY
from tests.parts import program
from tests.world import eventually

PROXIES: Final = DEPLOY / "proxies"
HOST: Final = "127.0.0.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a proxy listens, the two web processes behind it, and the folder of its TLS."""

    http: int
    https: int
    webs: tuple[int, int]
    tls: Path


def nginx_config(folder: Path, place: Place) -> str:
    """nginx.conf with this machine's places in it."""
    text = (PROXIES / "nginx.conf").read_text("utf-8")
    temporary = "".join(
        f"    {each}_temp_path {folder}/{each};\n"
        for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    for there, here in (
        ("user www-data;", "user root;" if os.geteuid() == 0 else ""),
        ("worker_processes auto;", "worker_processes 1;\ndaemon off;"),
        ("/run/nginx.pid", f"{folder}/nginx.pid"),
        ("/var/log/nginx", str(folder)),
        ("/etc/nginx/tls/fullchain.pem", f"{place.tls}/server.pem"),
        ("/etc/nginx/tls/privkey.pem", f"{place.tls}/server.pem"),
        ("http {\n", f"http {{\n{temporary}"),
        ("listen 80 default_server;", f"listen {HOST}:{place.http} default_server;"),
        ("listen 443 ssl http2;", f"listen {HOST}:{place.https} ssl http2;"),
        (f"{HOST}:8000", f"{HOST}:{place.webs[0]}"),
        (f"{HOST}:8001", f"{HOST}:{place.webs[1]}"),
    ):
        assert there in text, there
        text = text.replace(there, here)
    return re.sub(r" *listen \[::\].*\n", "", text)


def caddy_config(folder: Path, place: Place) -> str:
    """The Caddyfile with this machine's places in it; PUBLIC_BASE_URL comes by the environment."""
    text = (PROXIES / "Caddyfile").read_text("utf-8")
    behind = " ".join(f"{HOST}:{port}" for port in place.webs)
    pem = f"{place.tls}/server.pem"
    for there, here in (
        ("{\n", f"{{\n\tadmin off\n\thttp_port {place.http}\n\thttps_port {place.https}\n"),
        ("http:// {\n", f"http:// {{\n\tbind {HOST}\n"),
        ("{$PUBLIC_BASE_URL} {\n", f"{{$PUBLIC_BASE_URL}} {{\n\tbind {HOST}\n\ttls {pem} {pem}\n"),
    ):
        assert there in text, there
        text = text.replace(there, here, 1)
    changed = re.sub(r"dynamic a \{[^}]*\}", f"to {behind}", text)
    assert changed != text
    return changed


def prepare(kind: str, folder: Path, place: Place) -> tuple[list[str], dict[str, str]]:
    """Write what this proxy needs into `folder`; the command that runs it, and its environment."""
    binary = program(kind)
    if kind == "nginx":
        config = folder / "nginx.conf"
        config.write_text(nginx_config(folder, place), "utf-8")
        return [binary, "-p", str(folder), "-c", str(config)], {}
    config = folder / "Caddyfile"
    config.write_text(caddy_config(folder, place), "utf-8")
    environment = {
        "PUBLIC_BASE_URL": f"https://{HOST}:{place.https}",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    return [binary, "run", "--config", str(config), "--adapter", "caddyfile"], environment


@contextlib.asynccontextmanager
async def running_proxy(kind: str, folder: Path, place: Place) -> AsyncIterator[None]:
    """The proxy, listening, until the block ends."""
    command, environment = prepare(kind, folder, place)
    log = folder / f"{kind}.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, stdout=out, stderr=out
        )

    async def listening() -> bool | None:
        assert process.returncode is None, log.read_text("utf-8")
        try:
            for port in (place.http, place.https):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
        except OSError:
            return None
        return True

    try:
        await eventually(listening)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
