"""The real `fal-video web`: it sends itself the canary, and doctor leaves it its database."""

from pathlib import Path
from typing import Any

import pytest

from service.commands.doctor import examined
from service.doctor.checks import Level
from tests.doctor.conftest import Place
from tests.processes.running import Stand, web_process
from tests.world import eventually


@pytest.mark.thorough
async def test_a_web_process_tells_what_its_canary_found_and_doctor_asks_it_about_its_database(
    place: Place, tmp_path: Path
) -> None:
    stand = Stand(environment=place.world.sandbox.environment())
    async with web_process(stand, tmp_path, WEBHOOK_CANARY_S="0.1") as web:

        async def passed() -> dict[str, Any] | None:
            checks: dict[str, Any] = (await web.client.get("/health/ready")).json()["checks"]
            return checks if checks["webhook"] == "ok" else None

        assert set((await eventually(passed)).values()) == {"ok"}
        verdicts = await examined(web.environment)

    said = verdicts["database"].seen
    assert verdicts["database"].level is Level.SKIPPED
    assert said == "a running process owns it; its /health/ready says database ok, migrations ok"
    assert verdicts["migrations"].seen == "needs database"
    assert verdicts["webhook"].level is Level.OK
    log = (tmp_path / "web.log").read_text("utf-8")
    assert log.count("the webhook can be reached") == 1, "told once, however often it flew"
