"""What the reconciler serves on RECONCILER_PORT, as a real process."""

import os
from pathlib import Path

import httpx
import pytest

from service.commands.children import child
from service.web.metrics import build_sidecar_app
from service.worker import STUCK_AFTER_S, STUCK_INTERVALS, Pulse
from tests.signals.scraping import BEARER, TOKEN, Scraped
from tests.world import World, environment, eventually


@pytest.mark.thorough
async def test_the_reconciler_says_that_it_lives_and_what_it_counts(
    standing: World, tmp_path: Path
) -> None:
    settings = environment(
        standing.sandbox,
        0,
        RECONCILER_PORT="0",
        METRICS_TOKEN=TOKEN,
        RECONCILE_INTERVAL_S="0.05",
        AUDIT_INTERVAL_S="60",
    )
    given = {"PATH": os.environ["PATH"], **settings}
    async with (
        child(["reconciler"], given, tmp_path / "log", until="listening") as running,
        httpx.AsyncClient(base_url=running.lines[-1].split()[-1], trust_env=False) as http,
    ):
        live = await http.get("/health/live")
        assert (live.status_code, live.json()["status"]) == (200, "ok")
        assert (await http.get("/metrics")).status_code == 404
        assert (await http.get("/api/credits")).status_code == 404

        async def swept_and_audited() -> Scraped | None:
            answer = await http.get("/metrics", headers={"Authorization": BEARER})
            shown = Scraped(answer.text)
            done = shown("sweeps_total") > 1 and shown.get("audit_passed") == 1
            return shown if done else None

        shown = await eventually(swept_and_audited, within_s=40)
        assert shown("up_database") == 1


async def test_a_loop_that_stands_still_is_not_alive(world: World) -> None:
    pulse = Pulse(interval_s=2)
    app = build_sidecar_app(world.runtime, pulse)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        assert (await http.get("/health/live")).status_code == 200
        pulse._beat_at -= STUCK_INTERVALS * 2 + STUCK_AFTER_S
        stuck = await http.get("/health/live")
        assert (stuck.status_code, stuck.json()["status"]) == (503, "stuck")
        pulse.beat()
        assert (await http.get("/health/live")).status_code == 200
