"""Real processes on a real disk, each killed at a point; the plain command then ends every job."""

import asyncio
import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from service.adapters.outbound import tls_context
from service.adapters.surreal import Database
from service.commands.local import free_port
from service.sandbox.object_store import ObjectStore
from service.sandbox.server import run_sandbox
from service.settings import Needs, read_settings
from service.wiring import database_settings, open_store
from tests.crash.points import MIGRATING
from tests.world import OWNER, TINY, environment, eventually, png, token

ROOT: Final = Path(__file__).parents[2]
PRICE: Final = 40
BOUND_S: Final = 60.0
PATIENCE_S: Final = 10.0  # with one job, before the next restart
RESTARTS: Final = 8
SETTINGS: Final = {"RECONCILE_INTERVAL_S": "0.3", "LEASE_S": "2", "EXPECTED_RENDER_S": "1"}
DUE: Final = (
    "UPDATE video_job SET due = time::now() WHERE due != NONE",
    "UPDATE video_job SET lease_until = time::now() WHERE lease_until != NONE",
    "UPDATE video_job SET looked_up_at = NONE WHERE looked_up_at != NONE",
    "UPDATE inbox SET due = time::now() WHERE due != NONE",
)
EVERYDAY: Final = (
    "send:wire.submit·sent",
    "receive:store.record_delivery·a",
    "finalise:s3.put_object·a",
    "finalise:store.settle_ready·a",
)
LONG: Final = (
    "accept:store.reserve·a",
    "finalise:download.first_byte·a",
    "finalise:store.settle_ready·b",
    "accept:front.body·a",
    "accept:bucket.put_image·a",
    "accept:store.reserve·b",
    "accept:nudge.submission·b",
    "accept:front.reply·b",
    "send:store.begin_submission·b",
    "send:fal.submit·a",
    "send:store.record_submission·b",
    "send:store.record_submission·a",
    "receive:front.body·a",
    "receive:verifier.verify·a",
    "receive:store.record_delivery·b",
    "receive:nudge.delivery·b",
    "receive:front.reply·b",
    "handle:store.take_delivery·a",
    "handle:store.apply_rendered·b",
    "handle:store.apply_rendered·a",
    "handle:nudge.finalisation·b",
    "finalise:store.lease·a",
    "finalise:s3.head_object·a",
    "finalise:download.last·a",
    "finalise:s3.put_object·b",
    "sweep:store.due_deliveries·a",
    "sweep:store.due_jobs·a",
)
UPLOADS: Final = (
    "finalise:s3.create_multipart_upload·a",
    "finalise:s3.upload_part_1·a",
    "finalise:s3.upload_part_2·b",
    "finalise:s3.complete_multipart_upload·b",
    "finalise:s3.complete_multipart_upload·a",
)


@dataclass
class Shop:
    """An owner who orders one video of each process, and asks again until there is an answer."""

    environment: dict[str, str]
    http: httpx.AsyncClient
    log: Path
    orders: dict[str, str | None] = field(default_factory=dict)  # idempotency key -> job

    @asynccontextmanager
    async def running(self, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *command,
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(BOUND_S):
                await process.wait()

    async def killed(self, point: str, *, order: bool = True) -> None:
        """One process's life up to a point, with a new order and whatever was left before it."""
        if order:
            # A job's id, and so its object's key, derives from this: no other test's objects.
            self.orders[secrets.token_hex(8)] = None
        async with self.running("tests.crash.process", point, "web") as process:
            asking = asyncio.create_task(self._ask_again())
            try:
                async with asyncio.timeout(BOUND_S):
                    assert await process.wait() == -signal.SIGKILL, f"{point}: {self._said()}"
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    async def ended(self) -> dict[str, dict[str, Any]]:
        """Every order's status once all have ended, under the plain command.

        A death between a counted attempt and its POST is waited out for minutes, so time is made
        to pass between restarts.
        """
        for _ in range(RESTARTS):
            async with self.running("service", "web"):
                try:
                    return await self._ends()
                except TimeoutError:
                    pass
            await self.time_passes(*DUE)
        raise AssertionError(f"jobs do not end: {self._said()}")

    async def _ends(self) -> dict[str, dict[str, Any]]:
        await self._ask_again()
        found = {str(job): await self._until_ended(str(job)) for job in self.orders.values()}
        assert (await self._get("/api/credits"))["reserved"] == 0
        return found

    async def time_passes(self, *statements: str) -> None:
        """What the dead one held or put off is due; only possible while nobody has the engine."""
        database = Database(database_settings(read_settings(self.environment, Needs.WEB)))
        await database.open()
        try:
            for statement in statements:
                await database.write(statement)
        finally:
            await database.close()

    async def _ask_again(self) -> None:
        for key in [key for key, job in self.orders.items() if job is None]:
            self.orders[key] = await eventually(lambda key=key: self._ask(key), BOUND_S)  # type: ignore[misc]

    async def _ask(self, key: str) -> str | None:
        order = '{"templateSlug": "night-life-roller", "variables": {"BRAND": "A"}}'
        try:
            answer = await self.http.post(
                "/api/templates/video",
                headers={"Idempotency-Key": key},
                data={"data": order},
                files={"startImage": ("start.png", png(), "image/png")},
            )
        except httpx.TransportError:
            return None
        assert answer.status_code == 202, answer.text
        return str(answer.json()["jobId"])

    async def _until_ended(self, job_id: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            try:
                view = await self._get(f"/api/templates/video/status?jobId={job_id}")
            except httpx.TransportError:  # it does not listen yet
                return None
            return view if view["status"] in {"completed", "failed"} else None

        return await eventually(look, PATIENCE_S)

    async def _get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get(path)).raise_for_status().json()
        return found

    def _said(self) -> str:
        return self.log.read_text("utf-8", "replace")[-3000:]


async def kill_at_each(s3: ObjectStore, folder: Path, points: Sequence[str], size: int = 0) -> None:
    """Chain the deaths: each process finds what the one before it left, and gets a new order."""
    # fal sends again within moments, so that no restart has to wait for it.
    settings = replace(TINY, time_scale=0.02)
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(run_sandbox(settings, store=s3))
        url = f"surrealkv://{folder / 'data'}"
        child = environment(sandbox, free_port(), SURREALDB_URL=url, **SETTINGS)
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=child["PUBLIC_BASE_URL"],
                headers={"Authorization": f"Bearer {token()}"},
                trust_env=False,
                timeout=BOUND_S,
                verify=tls_context(),
            )
        )
        shop = Shop({**os.environ, **child}, http, folder / "web.log")
        await shop.killed(MIGRATING, order=False)
        await shop.time_passes("DELETE schema_lock")
        async with open_store(read_settings(shop.environment, Needs.WEB)) as store:
            await store.grant(OWNER, PRICE * len(points), "grant")
        plan = {"faults": f"bytes={size}" if size else "", "times": 1000}
        (await http.post(f"{sandbox.fal_url}/sandbox/faults", json=plan)).raise_for_status()
        for point in points:
            await shop.killed(point)
            await shop.time_passes(*DUE)
        ended = await shop.ended()
        counts = (await http.get(f"{sandbox.fal_url}/sandbox/counts")).json()
        assert {view["status"] for view in ended.values()} == {"completed"}
        assert len(ended) == len(points) == counts["submits"], "one job, one POST for each order"
        async with shop.running("service", "audit") as audit:
            assert await audit.wait() == 0, shop._said()
        assert not re.search("Traceback", shop._said())


@pytest.mark.timeout(300)  # ten seconds on an idle machine
@pytest.mark.parametrize(
    "points",
    [EVERYDAY[::2], pytest.param(EVERYDAY[1::2], marks=pytest.mark.thorough)],
    ids=["a", "b"],
)
async def test_deaths_of_real_processes_lose_nothing_and_charge_once(
    s3: ObjectStore, tmp_path: Path, points: tuple[str, ...]
) -> None:
    """F9, F39, F45, F58: SIGKILL; a migration half applied, then one death for each order."""
    await kill_at_each(s3, tmp_path, points)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("points", [LONG[:8], LONG[8:16], LONG[16:]], ids=["a", "b", "c"])
async def test_more_deaths_of_real_processes(
    s3: ObjectStore, tmp_path: Path, points: tuple[str, ...]
) -> None:
    await kill_at_each(s3, tmp_path, points)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_deaths_in_the_middle_of_an_upload_in_parts(s3: ObjectStore, tmp_path: Path) -> None:
    """F55: parts of 8 MiB, as in production."""
    await kill_at_each(s3, tmp_path, UPLOADS, size=20 * 1024 * 1024)
