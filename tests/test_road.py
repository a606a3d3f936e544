"""The whole road: a real image becomes a real video, once, charged once."""

from tests.world import OWNER, World


async def test_a_start_image_becomes_a_video_with_one_fal_call(world: World) -> None:
    await world.grant(100)
    job_id = await world.submit()
    done = await world.until(job_id, "completed", "failed")

    assert done["status"] == "completed"
    assert (done["progress"], done["credits"], done["error"]) == (100, 40, None)
    video = await world.http.get(done["url"])
    assert video.content[4:8] == b"ftyp"
    balance = await world.runtime.store.balance(OWNER)
    assert (balance.available, balance.reserved, balance.captured) == (60, 0, 40)
    counts = await world.counts()
    assert (counts["submits"], counts["statuses"], counts["results"]) == (1, 0, 0)
    assert counts["deliveries"] == 1
    report = await world.audit()
    assert report.violations == []
