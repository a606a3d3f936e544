"""Several web processes and reconcilers share one engine while some of them are killed."""

import contextlib

import pytest

from tests.parts import thorough
from tests.processes.campaign import Campaign
from tests.processes.fleet import Fleet
from tests.world import eventually

JOBS = 120 if thorough() else 40
DELIVERED_S = 60.0  # the longest pause between two attempts, several times over
QUIET_S = 200.0  # some ten seconds on an idle machine


async def trouble(campaign: Campaign) -> None:
    """A web and a reconciler are killed under load; then the webs are restarted, one by one."""
    fleet, jobs = campaign.fleet, campaign.jobs
    await campaign.once_accepted(jobs // 4, QUIET_S)
    await campaign.kill(fleet.webs[0])
    await campaign.once_accepted(jobs // 2, QUIET_S)
    await campaign.kill(fleet.reconcilers[0])
    await campaign.once_accepted(3 * jobs // 4, QUIET_S)
    for web in fleet.webs:
        assert await web.stop() == 0
        await web.start()


async def check(campaign: Campaign) -> None:
    """Nothing lost, nothing double, by count: at fal, in the bucket, in the books."""
    with contextlib.suppress(TimeoutError):  # what is not then is named below
        await eventually(campaign.all_delivered, DELIVERED_S)
    outcome = await campaign.outcome()
    videos, unfinished = await campaign.fleet.objects()
    report = await campaign.fleet.audit()
    campaign.report(outcome)

    assert outcome.wrong == []
    assert (outcome.lost, outcome.strange) == (0, 0)
    assert campaign.undelivered == []
    assert outcome.double == []
    assert outcome.money == []
    assert outcome.statuses.total() == campaign.jobs
    assert unfinished == []
    assert outcome.keys <= videos
    assert report["states"]["ready"] == report["objects"] == len(videos)


@pytest.mark.timeout(600)
async def test_nothing_is_lost_or_doubled_while_processes_are_killed(fleet: Fleet) -> None:
    """F3, F4, F15, F42: many orders, every kind of trouble at fal, SIGKILLs, a rolling restart."""
    campaign = Campaign(fleet=fleet, jobs=JOBS, name="several")
    await campaign.run(trouble, within_s=QUIET_S)
    await check(campaign)
