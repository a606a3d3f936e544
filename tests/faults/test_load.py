"""Many jobs at once: whom a sweep takes first, and that nobody starves."""

import pytest

from service.domain.policy import SWEEP_BATCH
from service.flows.reconcile import sweep_once
from tests.world import World, eventually

BEN = "ben@example.com"


async def overdue(world: World, fresh: int) -> list[str]:
    """So many jobs that fal has rendered, whose webhooks were lost; due now."""
    await world.faults("drop", times=fresh)
    ids = []
    for each in range(fresh):  # an owner may have only so many unfinished at once
        email = f"owner{each // 10}@example.com"
        await world.grant(40, email)
        ids.append(await world.submit(brand=f"fresh {each}", email=email))
    await world.quiet()
    return ids


async def stuck(world: World, jobs: int) -> None:
    """So many jobs that fal renders for ever; each has been looked at before, and is older."""
    await world.grant(40, email=BEN)
    await world.faults("delay=600,drop")
    await world.until_state(await world.submit(email=BEN), "submitted")
    # Copies of one row: what matters is how many rows are due, and fal's answer about each.
    await world.runtime.store.database.write(
        "{ LET $one = (SELECT * OMIT id FROM ONLY video_job WHERE email = $ben LIMIT 1);"
        " FOR $n IN 2..=$jobs { CREATE type::record('video_job', 'stuck' + <string>$n)"
        " CONTENT $one };"
        " UPDATE video_job SET sweeps = 3, submitted_at = time::now() - 1h"
        "  WHERE email = $ben }",
        jobs=jobs,
        ben=BEN,
    )


@pytest.mark.parametrize(
    ("old", "fresh"), [(120, 20), pytest.param(500, 50, marks=pytest.mark.long)]
)
async def test_old_stuck_jobs_keep_no_fresh_one_waiting(world: World, old: int, fresh: int) -> None:
    """F82: the fresh are taken in the first batch; the stuck get their turn after them, once."""
    await stuck(world, old)
    ids = await overdue(world, fresh)

    async def completed() -> bool | None:
        states = [row["state"] for row in await world.requests()]
        return True if states.count("COMPLETED") == fresh else None

    await eventually(completed)
    await world.time_passes()
    before = (await world.counts())["statuses"]

    await sweep_once(world.runtime.services)
    await world.quiet()

    states = [(await world.runtime.store.job(job_id)).state.value for job_id in ids]
    assert states == ["ready"] * fresh
    asked = (await world.counts())["statuses"] - before
    assert asked == SWEEP_BATCH, "the rest of the batch went to the stuck"

    while (await sweep_once(world.runtime.services)).jobs:
        pass
    assert (await world.counts())["statuses"] - before == old + fresh, "each was asked about once"
