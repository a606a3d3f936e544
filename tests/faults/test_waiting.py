"""Jobs that wait long, in line or for the end of a pause: they go on as if they had not."""

from service.domain.job import IfFinished
from service.domain.pauses import Activity
from service.domain.policy import STOOD_STILL_S
from tests.faults.steps import sweep_until
from tests.world import World, eventually

LONG = "20m"  # over STOOD_STILL_S


async def paused(world: World, jobs: int) -> list[str]:
    """So many orders that wait for the end of a pause by hand, and have for long."""
    assert STOOD_STILL_S < 20 * 60
    await world.grant(40 * jobs)
    await world.sweep()  # somebody sweeps, and goes on to
    await world.runtime.store.pause_by_hand(Activity.SUBMITTING, "by a test")
    ids = [await world.submit(brand=f"B{each}") for each in range(jobs)]
    await world.sweep()
    assert await world.states() == {"reserved": jobs}
    await world.runtime.store.database.write(
        f"{{ UPDATE video_job SET updated_at = time::now() - {LONG};"
        f" UPDATE chore:sweep SET since = time::now() - 1d }}"
    )
    return ids


async def test_what_has_waited_long_is_sent_without_a_look_at_fals_list(world: World) -> None:
    """A key that may not list must not keep them for ever."""
    await paused(world, 3)
    await world.runtime.store.resume_by_hand(Activity.SUBMITTING)

    async def all_ready() -> bool | None:
        await world.sweep()
        return True if await world.states() == {"ready": 3} else None

    await eventually(all_ready)
    counts = await world.counts()
    assert (counts["submits"], counts["listings"]) == (3, 0)
    assert (await world.audit()).violations == []


async def test_after_a_gap_in_the_sweeping_fals_list_is_looked_at_first(world: World) -> None:
    """F76: then the row may be an older copy of one that was sent."""
    (job_id,) = await paused(world, 1)
    await world.runtime.store.database.write("UPDATE chore:sweep SET due = time::now() - 1s")
    await world.runtime.store.resume_by_hand(Activity.SUBMITTING)
    await sweep_until(world, job_id, "ready")
    counts = await world.counts()
    assert counts["submits"] == 1
    assert counts["listings"] >= 1


async def test_what_waits_in_a_pause_is_given_up_by_the_sweep_too(world: World) -> None:
    """An operator's cancel, and an owner's whose process died right after it."""
    given_up, kept = await paused(world, 2)
    assert await world.runtime.store.request_cancel(given_up, IfFinished.DISCARD)
    await sweep_until(world, given_up, "cancelled")
    assert (await world.runtime.store.job(kept)).state.value == "reserved"
    assert await world.money() == (40, 40, 0)
    assert (await world.counts())["submits"] == 0
