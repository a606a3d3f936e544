"""Floods of garbage deliveries at a real web process: what holds however fast they come."""

import json

import pytest

from tests.hostile.floods import flood, reads
from tests.hostile.site import Site
from tests.web.deliveries import SILENT, Signer, webhook_path

MIB = 1024 * 1024
REFUSED = {"unknown token 401", "bad signature 401", "huge body 401", "huge body closed", "slow"}
FLOOD_S = 2.5
READS = 40


@pytest.mark.thorough
async def test_a_flood_costs_two_key_sets_and_some_memory_and_real_deliveries_get_through(
    site: Site,
) -> None:
    """F32: nothing but refusals; the figures are taken in long/test_floods.py."""
    job_id = await site.submit(SILENT)
    await site.until(job_id, "processing")
    body = json.dumps({"status": "OK", "payload": None}).encode()
    await reads(site, job_id, 5)
    memory, before, lines = site.resident_bytes(), await site.counts(), site.log.stat().st_size
    async with flood(site, job_id, FLOOD_S) as flooding:
        await reads(site, job_id, READS)
        answer = await site.http.post(
            webhook_path(job_id), content=body, headers=Signer().headers(body, request_id="r-flood")
        )
        assert answer.status_code == 200, answer.text
    after = await site.counts()
    assert set(flooding.told) <= REFUSED | {"slow closed"}
    assert flooding.told["bad signature 401"] > 50
    assert after["jwks"] - before["jwks"] <= 2, "one that was cold, one for all misses"
    assert site.resident_bytes() - memory < 64 * MIB
    grown = site.log.stat().st_size - lines
    assert grown < 100_000 + 400 * flooding.answered, "a line for each at most"
    await site.lives()
