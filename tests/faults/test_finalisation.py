"""What the CDN does to a download, and that nothing broken is ever stored or charged."""

from dataclasses import replace

import pytest

from service.adapters.video_source import HttpVideoSource
from service.domain.policy import GONE_ATTEMPTS
from tests.faults.steps import sweep_until
from tests.world import World, eventually


@pytest.mark.parametrize("fault", ["gone_once", "file_503=2", "redirect"])
async def test_a_file_that_is_hard_to_get_is_got_in_the_end(world: World, fault: str) -> None:
    """F48, F49: another address from fal's result, a later attempt, a redirect within the list."""
    await world.grant(100)
    await world.faults(fault)
    job_id = await world.submit()
    await sweep_until(world, job_id, "ready")
    assert await world.money() == (60, 0, 40)
    assert (await world.audit()).violations == []


async def test_a_file_that_is_gone_for_good_ends_the_job_and_returns_the_credits(
    world: World,
) -> None:
    """F48: each time the address is asked for anew; a CDN's bad minute costs nobody a video."""
    await world.grant(100)
    await world.faults("gone")
    job_id = await world.submit()
    await sweep_until(world, job_id, "failed")

    assert (await world.status(job_id))["error"]["code"] == "source_gone"
    assert (await world.runtime.store.job(job_id)).gone_attempts == GONE_ATTEMPTS - 1
    assert (await world.counts())["results"] >= GONE_ATTEMPTS
    assert await world.money() == (100, 0, 0)
    assert (await world.audit()).violations == []


@pytest.mark.parametrize("fault", ["truncated", "short", "html", "empty_file"])
async def test_a_broken_file_is_never_stored_and_never_charged(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """F50, F51: retried, and the reservation stays meanwhile."""
    source = world.runtime.services.source
    assert isinstance(source, HttpVideoSource)
    hasty = replace(source._limits, reconnect_pause_s=0.01)
    monkeypatch.setattr(source, "_limits", hasty)
    await world.grant(100)
    await world.faults(fault)
    job_id = await world.submit()

    async def tried() -> bool | None:
        job = await world.runtime.store.job(job_id)
        return True if job.finalise_attempts >= 1 and not await leased(world) else None

    await eventually(tried)
    job = await world.runtime.store.job(job_id)
    assert (job.state.value, job.object_sha256) == ("rendered", None)
    assert await world.runtime.services.bucket.find_video(job.object_key or "", job_id) is None
    assert await world.money() == (60, 40, 0)
    assert (await world.audit()).violations == []


async def leased(world: World) -> bool:
    until = await world.runtime.store.database.read("SELECT VALUE lease_until FROM video_job")
    return bool(until != [None])


async def test_an_address_we_may_not_fetch_parks_the_job(world: World) -> None:
    """F53: the signature is good, the address is not."""
    await world.grant(100)
    await world.faults("redirect_private")
    job_id = await world.submit()

    async def parked() -> str | None:
        job = await world.runtime.store.job(job_id)
        return job.parked_reason

    assert "SourceRefused" in await eventually(parked)
    assert await world.money() == (60, 40, 0)
    assert (await world.audit()).violations == []


async def test_a_file_over_the_limit_fails_the_job_and_returns_the_credits(world: World) -> None:
    """F52: announced as 10 GiB."""
    await world.grant(100)
    await world.faults("huge")
    job_id = await world.submit()

    failed = await world.until(job_id, "failed")

    assert failed["error"]["code"] == "source_too_large"
    assert await world.money() == (100, 0, 0)
    assert (await world.audit()).violations == []
