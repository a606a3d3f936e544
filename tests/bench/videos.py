"""Where videos come from and where they go: nginx and a sink, each in a process of its own."""

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.bench.sink import STANDING
from tests.parts import free_ports, program
from tests.r2.tls import write_certificates
from tests.transfer.samples import big_mp4
from tests.world import eventually

BUCKET: Final = "videos"
MB: Final = 1_000_000
ROOT: Final = Path(__file__).parents[2]
# TLS as a CDN speaks it; the rest is nginx's own choice.
CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    types {{ video/mp4 mp4; }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        root {folder}/videos;
    }}
}}
"""


class BadTransfer(Exception):
    """A video did not arrive whole, so how long it took means nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Road:
    """From the source to the sink: plain, or by TLS, which `authority` vouches for."""

    name: str
    source: str
    endpoint: str
    authority: Path | None

    def url(self, size: int) -> str:
        return f"{self.source}/{size}.mp4"


@dataclass(frozen=True, kw_only=True, slots=True)
class Roads:
    plain: Road
    tls: Road
    folder: Path

    @contextlib.asynccontextmanager
    async def expecting(self, size: int, count: int) -> AsyncIterator[list[str]]:
        """Names for `count` copies of the video of `size` bytes, which are there afterwards.

        Raises BadTransfer when one is not, or is of another size.
        """
        keys = [f"users/bench/library/{secrets.token_hex(8)}.mp4" for _ in range(count)]
        yield keys
        kept = await self._kept()
        for key in keys:
            if (found := kept.get(f"/{BUCKET}/{key}")) != size:
                raise BadTransfer(f"{found} bytes of {size} arrived")

    async def _kept(self) -> Mapping[str, int]:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{self.plain.endpoint}{STANDING}")
        kept: dict[str, int] = answer.raise_for_status().json()["objects"]
        return kept


@contextlib.asynccontextmanager
async def roads(folder: Path, sizes: Iterable[int]) -> AsyncIterator[Roads]:
    """Both ends, with a video of each of `sizes` at the source, until the block ends."""
    write_certificates(folder)
    _write_videos(folder / "videos", sizes)
    authority = folder / "authority.pem"
    async with _source(folder) as (http, https), _sink(folder) as (s3, s3_tls):
        host = "127.0.0.1"
        yield Roads(
            plain=Road(
                name="plain",
                source=f"http://{host}:{http}",
                endpoint=f"http://{host}:{s3}",
                authority=None,
            ),
            tls=Road(
                name="TLS",
                source=f"https://{host}:{https}",
                endpoint=f"https://{host}:{s3_tls}",
                authority=authority,
            ),
            folder=folder,
        )


def _write_videos(folder: Path, sizes: Iterable[int]) -> None:
    folder.mkdir()
    for size in set(sizes):
        with (folder / f"{size}.mp4").open("wb") as file:
            file.writelines(big_mp4(size))


@contextlib.asynccontextmanager
async def _source(folder: Path) -> AsyncIterator[tuple[int, int]]:
    plain, tls = free_ports(2)
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, plain=plain, tls=tls), "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(program("nginx"), "-p", str(folder), "-c", str(config)), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await eventually(lambda: _listening(process, tls, folder))
        yield plain, tls
    finally:
        await _ended(process)


async def _listening(process: asyncio.subprocess.Process, port: int, folder: Path) -> bool | None:
    assert process.returncode is None, (folder / "error.log").read_text("utf-8")
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    writer.close()
    return True


@contextlib.asynccontextmanager
async def _sink(folder: Path) -> AsyncIterator[tuple[int, int]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.sink", str(folder / "server.pem")),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        plain, tls = (await process.stdout.readline()).split()
        yield int(plain), int(tls)
    finally:
        await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await process.wait()
