"""The bucket's round trip on Cloudflare's own simulator, with parts as large as R2 wants them."""

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from pydantic import SecretStr

from service.adapters.s3_calls import MIB
from service.doctor import storage
from service.doctor.checks import Case, Level
from service.settings import Settings
from tests.r2.simulator import Simulator, simulator

__all__ = ["simulator"]  # a fixture


@pytest.mark.thorough
async def test_the_round_trip_is_one_that_r2_takes(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = replace(storage.LIMITS, single_put_bytes=5 * MIB, part_bytes=5 * MIB)
    monkeypatch.setattr(storage, "LIMITS", parts)
    there = simulator.settings()
    settings = Settings(
        r2_endpoint_url=there.endpoint_url,
        r2_bucket=there.bucket,
        r2_access_key_id=there.access_key_id,
        r2_secret_access_key=SecretStr(there.secret_access_key),
    )
    case = Case(settings=settings, closing=AsyncExitStack())
    verdict = await storage.check_bucket(case)
    assert verdict.level is Level.OK, verdict
    wrong = settings.model_copy(update={"r2_secret_access_key": SecretStr("wrong")})
    refused = await storage.check_bucket(Case(settings=wrong, closing=AsyncExitStack()))
    assert (refused.level, "R2_SECRET_ACCESS_KEY" in refused.fix) == (Level.FAIL, True), refused
