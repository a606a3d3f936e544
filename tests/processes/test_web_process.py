"""Real processes on the embedded engine: killed, stopped, restarted, swept for; demo and dev."""

import os
import signal
from pathlib import Path

import httpx

from service.adapters.audit_store import SurrealAuditStore
from service.commands.children import child
from service.commands.local import free_port
from service.flows.audit import audit
from service.settings import Needs, read_settings
from service.wiring import open_bucket_alone, open_store
from tests.processes.running import Stand, Web, run, web_process
from tests.world import OWNER, eventually

SETTINGS = {"RECONCILE_INTERVAL_S": "0.3", "LEASE_S": "2", "EXPECTED_RENDER_S": "1"}


async def grant(stand: Stand, folder: Path) -> None:
    """100 credits for the owner, while no process has the database."""
    database = {"SURREALDB_URL": f"surrealkv://{folder / 'data'}"}
    settings = read_settings({**stand.environment, **database}, Needs.DATABASE)
    async with open_store(settings) as store:
        await store.grant(OWNER, 100, "once")


async def audited(environment: dict[str, str], *, ready: int) -> None:
    """Every invariant holds, and so many videos are there. Nothing else has the database now."""
    settings = read_settings(environment, Needs.WORK)
    async with open_store(settings) as store, open_bucket_alone(settings) as bucket:
        report = await audit(SurrealAuditStore(store.database), bucket)
    assert report.violations == []
    assert (report.jobs, report.objects) == (ready, ready)


async def fetching(stand: Stand, brand: str) -> None:
    """Return once the video of this order is on its way."""

    async def look() -> bool | None:
        asked = (await stand.requests_by_brand()).get(brand, [])
        return True if any(each["files"] for each in asked) else None

    await eventually(look)


async def test_a_killed_process_loses_nothing_and_charges_once_after_its_restart(
    stand: Stand, tmp_path: Path
) -> None:
    """SIGKILL while one job renders (its webhook finds nobody) and another's video is fetched."""
    await grant(stand, tmp_path)
    await stand.plan("delay=2", match="killed-rendering")
    await stand.plan("slow_file=40000,bytes=120000", match="killed-fetching")
    port = str(free_port())
    async with web_process(stand, tmp_path, PORT=port, **SETTINGS) as web:
        jobs = [await web.submit("killed-rendering"), await web.submit("killed-fetching")]
        await fetching(stand, "killed-fetching")
        await web.until(jobs[0], "processing")
        await web.kill()

    async with web_process(stand, tmp_path, PORT=port, **SETTINGS) as web:
        done = [await web.until(each, "completed", "failed") for each in jobs]
        credits_now = (await web.client.get("/api/credits")).json()

    assert [each["status"] for each in done] == ["completed", "completed"]
    assert (credits_now["available"], credits_now["reserved"]) == (20, 0)
    asked = await stand.requests_by_brand()
    assert [len(asked[each]) for each in ("killed-rendering", "killed-fetching")] == [1, 1]
    await audited(web.environment, ready=2)


async def test_a_stopped_process_gives_its_lease_back_and_one_sweep_of_the_sidecar_goes_on(
    stand: Stand, tmp_path: Path
) -> None:
    """F73: SIGTERM in the middle of a transfer: exit 0, nothing marked done, the lease free."""
    await grant(stand, tmp_path)
    await stand.plan("slow_file=40000,bytes=80000", match="stopped")
    settings = {**SETTINGS, "LEASE_S": "600"}
    async with web_process(stand, tmp_path, **settings) as web:
        job_id = await web.submit("stopped")
        await fetching(stand, "stopped")
        web.process.send_signal(signal.SIGTERM)
        assert await web.process.wait() == 0
    assert await state(web, job_id) == ("rendered", 1), "not done, and one lease so far"

    code, out = await run(web.environment, "reconciler", "--once")

    assert code == 0, out
    assert '"finalising": 1' in out
    assert await state(web, job_id) == ("ready", 2), "a lease of 600 s did not stand in the way"
    await audited(web.environment, ready=1)


async def state(web: Web, job_id: str) -> tuple[str, int]:
    """The job's state and fence, while no process has the database."""
    async with open_store(read_settings(web.environment, Needs.DATABASE)) as store:
        job = await store.job(job_id)
    return job.state.value, job.fence


async def test_the_demo_animates_a_real_image_and_passes_its_audit(tmp_path: Path) -> None:
    code, out = await run(dict(os.environ), "demo", "--duration", "2", cwd=tmp_path)
    assert code == 0, out
    assert "audit passed" in out
    assert "fal calls: 1 submit, 0 status" in out


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
