"""The whole road: a real image becomes a real video, once, charged once; and has a thumbnail."""

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from PIL import Image

from service.sandbox.object_store import ObjectStore
from tests.world import OWNER, World, eventually, open_world


@pytest.fixture
async def world(s3: ObjectStore) -> AsyncIterator[World]:
    async with open_world(s3, posters=True) as opened:
        yield opened


async def test_a_start_image_becomes_a_video_with_one_fal_call(world: World) -> None:
    await world.grant(100)
    job_id = await world.submit()
    done = await world.until(job_id, "completed", "failed")

    assert done["status"] == "completed"
    assert (done["progress"], done["credits"], done["error"]) == (100, 40, None)
    video = await world.http.get(done["url"])
    assert video.content[4:8] == b"ftyp"
    shown = await _with_thumbnail(world, job_id)
    assert shown["version"] > done["version"] or done["thumbnailUrl"]
    balance = await world.runtime.store.balance(OWNER)
    assert (balance.available, balance.reserved, balance.captured) == (60, 0, 40)
    counts = await world.counts()
    assert (counts["submits"], counts["statuses"], counts["results"]) == (1, 0, 0)
    assert counts["deliveries"] == 1
    report = await world.audit()
    assert report.violations == []


async def _with_thumbnail(world: World, job_id: str) -> dict[str, Any]:
    """The status once it has a thumbnail, which is a picture of the video."""

    async def look() -> dict[str, Any] | None:
        view = await world.status(job_id)
        return view if view["thumbnailUrl"] else None

    view = await eventually(look)
    picture = await world.http.get(view["thumbnailUrl"])
    assert picture.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(picture.content)) as image:
        assert (image.format, image.size) == ("JPEG", (64, 36))
    return view
