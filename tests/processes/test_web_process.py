"""A real web process on the embedded engine: killed, stopped, restarted."""

import json
import os
import signal
from pathlib import Path

import httpx
import pytest

from service.commands.children import child
from service.commands.local import free_port
from tests.processes.running import Stand, Web, run, sandbox_process, web_process
from tests.world import OWNER, eventually

SETTINGS = {"RECONCILE_INTERVAL_S": "0.3", "LEASE_S": "2", "EXPECTED_RENDER_S": "1"}


async def plan(stand: Stand, faults: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{stand.fal_url}/sandbox/faults", json={"match": None, "faults": faults, "times": 1}
        )
        answer.raise_for_status()


async def counts(stand: Stand) -> dict[str, int]:
    async with httpx.AsyncClient(trust_env=False) as client:
        found: dict[str, int] = (await client.get(f"{stand.fal_url}/sandbox/counts")).json()
        return found


async def grant(stand: Stand, folder: Path) -> None:
    database = {"SURREALDB_URL": f"surrealkv://{folder / 'data'}"}
    code, out = await run({**stand.environment, **database}, "credits", "grant", OWNER, "100")
    assert code == 0, out


async def audited(web: Web) -> None:
    code, out = await run(web.environment, "audit")
    assert code == 0, out


@pytest.mark.parametrize("faults", ["delay=1", "slow_file=40000,bytes=120000"])
async def test_a_killed_process_loses_nothing_and_charges_once_after_its_restart(
    tmp_path: Path, faults: str
) -> None:
    """SIGKILL while fal renders (its webhook finds nobody), and while the video is fetched."""
    async with sandbox_process(tmp_path) as stand:
        await grant(stand, tmp_path)
        await plan(stand, faults)
        port = str(free_port())
        async with web_process(stand, tmp_path, PORT=port, **SETTINGS) as web:
            job_id = await web.submit()
            await web.until(job_id, "processing")
            await web.kill()

        async with web_process(stand, tmp_path, PORT=port, **SETTINGS) as web:
            done = await web.until(job_id, "completed", "failed")
            credits_now = (await web.client.get("/api/credits")).json()

        assert done["status"] == "completed"
        assert (credits_now["available"], credits_now["reserved"]) == (60, 0)
        assert (await counts(stand))["submits"] == 1
        await audited(web)


async def test_a_stopped_process_gives_its_lease_back_and_marks_nothing_done(
    tmp_path: Path,
) -> None:
    """SIGTERM in the middle of a transfer: exit 0, then the next process goes on at once."""
    async with sandbox_process(tmp_path) as stand:
        await grant(stand, tmp_path)
        await plan(stand, "slow_file=20000,bytes=80000")
        settings = {**SETTINGS, "LEASE_S": "600"}
        async with web_process(stand, tmp_path, **settings) as web:
            job_id = await web.submit()

            async def fetching() -> bool | None:
                return True if (await counts(stand))["files"] else None

            await eventually(fetching)
            web.process.send_signal(signal.SIGTERM)
            assert await web.process.wait() == 0

        await plan(stand, "")
        async with web_process(stand, tmp_path, **settings) as web:
            done = await web.until(job_id, "completed", "failed")
        assert done["status"] == "completed", "a lease of 600 s did not stand in the way"
        await audited(web)


async def test_the_demo_animates_a_real_image_and_passes_its_audit(tmp_path: Path) -> None:
    code, out = await run(dict(os.environ), "demo", "--duration", "2", cwd=tmp_path)
    assert code == 0, out
    assert "audit passed" in out
    assert "fal calls: 1 submit, 0 status" in out


async def test_one_sweep_of_the_sidecar_finishes_what_a_dead_web_process_left(
    tmp_path: Path,
) -> None:
    """The web process is killed after its submission; `reconciler --once` does the rest."""
    async with sandbox_process(tmp_path) as stand:
        await grant(stand, tmp_path)
        await plan(stand, "drop")
        settings = {**SETTINGS, "RECONCILE_INTERVAL_S": "3600"}
        async with web_process(stand, tmp_path, **settings) as web:
            job_id = await web.submit()
            await web.until(job_id, "processing")
            await web.kill()

        async def ready() -> bool | None:
            code, out = await run(web.environment, "reconciler", "--once")
            assert code == 0, out
            _, shown = await run(web.environment, "credits", "show", OWNER, "--json")
            return True if json.loads(shown[shown.index("{") :])["reserved"] == 0 else None

        await eventually(ready, within_s=60)
        await audited(web)


async def test_dev_serves_on_its_port_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port = str(free_port())
    command = ["dev", "--port", port, "--render-seconds", "0"]
    async with (
        child(command, os.environ, tmp_path / "dev.log", until="stop with", cwd=tmp_path) as dev,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/api/credits")).json()["available"] == 1000
        foreign = {"Origin": "https://elsewhere.example"}
        assert (await client.get("/api/credits", headers=foreign)).status_code == 401
        dev.process.send_signal(signal.SIGTERM)
        assert await dev.process.wait() == 0
