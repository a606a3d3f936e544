"""Thumbnails: attempted a few times, found by index, set once. Render times: the latest twenty."""

from typing import Any

import pytest

from service.adapters.store import SurrealStore
from service.domain.job import JobState
from service.domain.render_times import RECENT
from tests.store import bench
from tests.store.bench import LONG_S, job_in
from tests.store.test_due import index_scans

KEY = "users/0/library/x.jpg"
MODEL = "fal-ai/some/model"
DELAYS = (10.0, 20.0, 40.0)
DAY_S = 86_400.0


async def ready(store: SurrealStore) -> str:
    return (await job_in(store, JobState.READY)).id


async def deleted(store: SurrealStore, *, attempts: int = 0) -> str:
    """A ready job that was deleted and purged, perhaps while its thumbnail was being made."""
    job_id = await ready(store)
    for _ in range(attempts):
        assert await store.begin_afterwards(job_id, DELAYS)
    await store.begin_delete(job_id)
    await store.database.write("UPDATE video_job SET purge_due = NONE, purge_attempts = 3")
    return job_id


async def make_due(store: SurrealStore) -> None:
    await store.database.write(
        "UPDATE video_job SET thumbnail_due = time::now() - 1s WHERE thumbnail_due != NONE"
    )


async def due(store: SurrealStore, limit: int = 50) -> list[str]:
    return await store.due_thumbnails(limit, attempts=len(DELAYS), age_s=DAY_S, retry_in_s=LONG_S)


async def purge(store: SurrealStore, job_id: str) -> tuple[bool, Any]:
    """Whether a job is due to be purged, and after how many attempts."""
    row = await bench.row(store, job_id)
    return row.get("purge_due") is not None, row.get("purge_attempts")


async def test_a_settled_job_is_final_and_only_its_thumbnail_is_due(store: SurrealStore) -> None:
    row = await bench.row(store, await ready(store))
    assert row.get("due") is None
    assert row["thumbnail_due"] > row["finished_at"]
    assert await due(store) == [], "its own process comes first"
    assert await bench.violations(store) == []


async def test_an_attempt_is_counted_first_and_the_next_put_off_further(
    store: SurrealStore,
) -> None:
    job_id = await ready(store)
    waits = []
    for count in range(1, len(DELAYS) + 1):
        job = await store.begin_afterwards(job_id, DELAYS)
        assert job is not None
        assert job.thumbnail_attempts == count
        again = (await bench.row(store, job_id))["thumbnail_due"]
        waits.append(round((again - job.read_at).total_seconds()))
    assert waits == [10, 20, 40]
    assert await store.begin_afterwards(job_id, DELAYS) is None, "it has had its attempts"


async def test_a_deleted_job_gets_no_attempt(store: SurrealStore) -> None:
    assert await store.begin_afterwards(await deleted(store), DELAYS) is None


async def test_a_thumbnail_is_set_once_and_the_version_tells(store: SurrealStore) -> None:
    job_id = await ready(store)
    before = await store.job(job_id)
    assert await store.set_thumbnail(job_id, KEY)
    after = await store.job(job_id)
    assert (after.thumbnail_key, after.version) == (KEY, before.version + 1)
    assert after.updated_at > before.updated_at
    row = await bench.row(store, job_id)
    assert row.get("thumbnail_due") is None
    assert not await store.set_thumbnail(job_id, "users/0/library/other.jpg")
    assert await bench.row(store, job_id) == row
    assert await store.begin_afterwards(job_id, DELAYS) is None
    assert await bench.violations(store) == []


async def test_a_thumbnail_for_a_deleted_job_makes_its_purge_begin_anew(
    store: SurrealStore,
) -> None:
    job_id = await deleted(store)
    assert not await store.set_thumbnail(job_id, KEY)
    assert (await store.job(job_id)).thumbnail_key is None
    assert await purge(store, job_id) == (True, 0)


async def test_due_thumbnails_are_found_by_index(store: SurrealStore) -> None:
    text = store._queries["due_thumbnails"]
    selection = text[text.index("SELECT") : text.index("LIMIT $limit")] + "LIMIT $limit"
    plan = await store.database.read(f"{selection} EXPLAIN", limit=5)
    assert index_scans(plan) == ["video_job_thumbnail"], plan


async def test_what_is_due_is_taken_once_and_others_do_not_fill_the_batch(
    store: SurrealStore,
) -> None:
    for _ in range(2):
        await store.drop_thumbnail(await ready(store))
    waiting = {await ready(store) for _ in range(2)}
    await make_due(store)
    taken = await due(store, limit=1) + await due(store, limit=1)
    assert set(taken) == waiting
    assert await due(store) == [], "each was put off"


async def test_one_that_has_had_its_attempts_is_given_up(store: SurrealStore) -> None:
    job_id = await ready(store)
    for _ in DELAYS:
        await make_due(store)
        assert await due(store) == [job_id]
        assert await store.begin_afterwards(job_id, DELAYS)
    await make_due(store)
    before = await bench.row(store, job_id)
    assert await due(store) == []
    del before["thumbnail_due"]
    assert await bench.row(store, job_id) == before, "and nothing else has happened to it"


async def test_one_that_ended_long_ago_is_given_up(store: SurrealStore) -> None:
    old, new = await ready(store), await ready(store)
    await store.database.write(
        "UPDATE video_job SET finished_at = time::now() - <duration>$age - 1s"
        " WHERE record::id(id) = $id",
        age="86400s",
        id=old,
    )
    await make_due(store)
    assert await due(store) == [new]
    assert (await bench.row(store, old)).get("thumbnail_due") is None


@pytest.mark.parametrize(("attempts", "again"), [(0, (False, 3)), (1, (True, 0))])
async def test_a_deleted_one_is_given_up_and_what_it_may_have_left_is_purged(
    store: SurrealStore, attempts: int, again: tuple[bool, int]
) -> None:
    job_id = await deleted(store, attempts=attempts)
    await make_due(store)
    assert await due(store) == []
    assert (await bench.row(store, job_id)).get("thumbnail_due") is None
    assert await purge(store, job_id) == again


async def test_the_latest_render_times_of_a_model_are_kept(store: SurrealStore) -> None:
    assert await store.render_times(MODEL, 5) == []
    for seconds in range(1, RECENT + 4):
        await store.note_render_time(MODEL, 5, seconds)
    await store.note_render_time(MODEL, 10, 999)
    assert await store.render_times(MODEL, 5) == list(range(RECENT + 3, 3, -1))
    assert await store.render_times(MODEL, 10) == [999]


async def test_a_job_keeps_what_renders_took_when_it_was_ordered(store: SurrealStore) -> None:
    assert (await bench.reserved_job(store, usual_render_s=33)).usual_render_s == 33
    assert (await bench.reserved_job(store)).usual_render_s is None
