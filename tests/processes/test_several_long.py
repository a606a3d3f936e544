"""The unaltered program under a long load, killed again and again; with the same run unkilled."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from service.domain.policy import (
    JITTER,
    LOOKUPS_TO_PROVE_ABSENCE,
    SUBMITTING_GRACE_S,
    Policy,
)
from tests.engine.server import running_engine
from tests.processes.campaign import Campaign
from tests.processes.fleet import LEASE_S, RECONCILE_INTERVAL_S, Fleet, running_fleet
from tests.processes.running import sandbox_process
from tests.processes.test_several import check

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

# fal's hour of attempts in fifteen minutes: a shorter patience than the load's own delays would
# only make fal send everything again and again.
SANDBOX = ("--slots", "64", "--time-scale", "0.25")
JOBS = 600
ROUNDS = 3
WITHIN_S = 900.0
# A job that was killed with its video on the way is taken up after one lease, by the next sweep.
LEASE_AND_SWEEP_S = LEASE_S + 1.2 * RECONCILE_INTERVAL_S
# One that was killed with its POST on the wire has to be proven absent from fal first.
PROOF_S = SUBMITTING_GRACE_S + LOOKUPS_TO_PROVE_ABSENCE * (
    (1 + JITTER) * Policy(public_base_url="", seal_key=b"").lookup_apart_s + RECONCILE_INTERVAL_S
)


@pytest_asyncio.fixture(loop_scope="package")
async def real_fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """`fal-video web` and `fal-video reconciler` as they are, on a disk that is waited for."""
    async with (
        sandbox_process(tmp_path, *SANDBOX) as stand,
        running_engine(tmp_path / "engine") as engine,
        running_fleet(engine, stand, tmp_path) as fleet,
    ):
        yield fleet


async def peace(_: Campaign) -> None:
    """Nobody is killed."""


async def war(campaign: Campaign) -> None:
    """Everybody is, several times, while orders come in; and each comes back."""
    members = campaign.fleet.members
    steps = ROUNDS * len(members)
    for step in range(steps):
        await campaign.once_accepted((step + 1) * campaign.jobs // (steps + 1), WITHIN_S)
        await campaign.kill(members[step % len(members)])


async def test_hundreds_of_jobs_survive_a_dozen_kills_and_recover_in_bounded_time(
    real_fleet: Fleet,
) -> None:
    """F3, F4, F15: by count nothing is lost or doubled, killed or not."""
    calm = Campaign(fleet=real_fleet, jobs=JOBS, name="calm")
    await calm.run(peace, within_s=WITHIN_S)
    await check(calm)
    rough = Campaign(fleet=real_fleet, jobs=JOBS, name="rough")
    await rough.run(war, within_s=WITHIN_S)
    await check(rough)

    sys.stdout.write(f"with kills / without: {rough.wall_s / calm.wall_s:.2f}\n")
    assert len(rough.kills) == ROUNDS * len(real_fleet.members)
    assert rough.recovery_s <= calm.wall_s + LEASE_AND_SWEEP_S + PROOF_S
