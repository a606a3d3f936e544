"""A real web process as attackers meet it: on a port, with its log in a file, its store breakable.

The sandbox lives in the test's own process, so that what it is asked for can be counted.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from service.commands.children import child
from service.commands.local import free_port
from service.sandbox.server import run_sandbox
from service.sandbox.settings import Sandbox
from service.settings import Needs, read_settings
from service.wiring import open_store
from tests.processes.running import Stand, web_environment
from tests.transfer.servers import S3FaultProxy, ServerThread
from tests.web.deliveries import SEED
from tests.world import OWNER, TINY, eventually, png, token

READ_S: Final = 20.0
# Words that a log could hold for no other reason.
KEYS: Final = {
    "FAL_KEY": "fal-key-id-7f31:fal-key-secret-90ab12",
    "R2_ACCESS_KEY_ID": "r2-access-key-5d20c1",
    "R2_SECRET_ACCESS_KEY": "r2-secret-key-c7739e",
    "OPS_TOKEN": "ops-token-of-the-hostile-tests-81f2aa",
    "METRICS_TOKEN": "metrics-token-of-the-hostile-tests-3c",
    "SURREALDB_PASSWORD": "database-password-e0a94b",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A running web process and all that stands around it."""

    url: str
    pid: int
    environment: Mapping[str, str]
    sandbox: Sandbox
    store: S3FaultProxy
    log: Path
    http: httpx.AsyncClient

    def headers(self, email: str = OWNER) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(email)}"}

    async def submit(self, brand: str, image: bytes | None = None) -> str:
        order = f'{{"templateSlug": "night-life-roller", "variables": {{"BRAND": "{brand}"}}}}'
        answer = await self.http.post(
            "/api/templates/video",
            data={"data": order},
            files={"startImage": ("start.png", image or png(), "image/png")},
            headers=self.headers(),
        )
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["jobId"]
        return job_id

    async def until(self, job_id: str, *wanted: str) -> str:
        async def look() -> str | None:
            answer = await self.http.get(
                "/api/templates/video/status", params={"jobId": job_id}, headers=self.headers()
            )
            status: str = answer.raise_for_status().json()["status"]
            return status if status in wanted else None

        return await eventually(look, 60)

    async def counts(self) -> Mapping[str, int]:
        answer = await self.http.get(f"{self.sandbox.fal_url}/sandbox/counts")
        found: Mapping[str, int] = answer.json()
        return found

    def resident_bytes(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text("utf-8"))
        assert found
        return int(found[1]) * 1024

    async def raw(self, request: bytes, within_s: float = READ_S) -> bytes:
        """All that is answered to these bytes until the server closes; b"" for nothing."""
        url = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        try:
            writer.write(request)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            got = b""
            async with asyncio.timeout(within_s):
                with contextlib.suppress(ConnectionError):
                    while more := await reader.read(65_536):
                        got += more
            return got
        finally:
            writer.transport.abort()

    async def lives(self) -> float:
        """The process answers somebody else; how long that took."""
        began = time.perf_counter()
        answer = await self.http.get("/health/live")
        assert answer.status_code == 200
        return time.perf_counter() - began


@contextlib.asynccontextmanager
async def running_site(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Site]:
    sandbox_settings = replace(
        TINY,
        signing_seed=SEED,
        fal_key=KEYS["FAL_KEY"],
        access_key_id=KEYS["R2_ACCESS_KEY_ID"],
        secret_access_key=KEYS["R2_SECRET_ACCESS_KEY"],
        bucket="hostile-site",
    )
    servers = ServerThread()
    try:
        async with run_sandbox(sandbox_settings) as sandbox:
            store = S3FaultProxy(urlsplit(sandbox.s3_url).port or 0, one_at_a_time=True)
            store.port = servers.listen(store.serve)
            port = free_port()
            environment = {
                **web_environment(Stand(environment=sandbox.environment()), port),
                **KEYS,
                "R2_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
                "SURREALDB_URL": f"surrealkv://{folder / 'data'}",
                "AUTH_DEVELOPMENT_USER": "",
                **settings,
            }
            async with open_store(read_settings(environment, Needs.WORK)) as rows:
                await rows.grant(OWNER, 10_000, "once")
            log = folder / "web.log"
            url = f"http://127.0.0.1:{port}"
            async with (
                child(["web"], environment, log, until="listening") as running,
                httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http,
            ):
                yield Site(
                    url=url,
                    pid=running.process.pid,
                    environment=environment,
                    sandbox=sandbox,
                    store=store,
                    log=log,
                    http=http,
                )
                store.forget()
    finally:
        servers.stop()
