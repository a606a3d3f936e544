"""What a status says of a video before it is ours, and of a cancel that is under way."""

import pytest

from service.adapters.rows import job_record
from service.domain.job import JobState
from tests.web.deliveries import SILENT, silent_job
from tests.web.forms import check_problem, fresh_email
from tests.world import World

on_shared = pytest.mark.asyncio(loop_scope="package")


async def rendered(world: World, source_url: str | None) -> tuple[str, str]:
    """A job whose video fal has, and we not yet."""
    email = fresh_email()
    await world.grant(100, email)
    job_id = await world.submit(email=email, brand=SILENT)
    await world.until_state(job_id, "submitted")
    await world.quiet()
    await world.runtime.store.database.write(
        "UPDATE $job SET state = 'rendered', source_url = $url, version += 1, due = NONE",
        job=job_record(job_id),
        url=source_url,
    )
    return job_id, email


@on_shared
async def test_fals_own_copy_can_be_played_while_ours_is_made(shared: World) -> None:
    email = fresh_email()
    await shared.grant(100, email)
    video = await silent_job(shared, email)
    await shared.runtime.store.database.write(
        "UPDATE $job SET state = 'rendered', source_url = $url, version += 1, due = NONE",
        job=job_record(video.job_id),
        url=video.url,
    )
    view = await shared.status(video.job_id, email)
    assert (view["previewUrl"], view["url"], view["credits"]) == (video.url, None, None)
    assert (await shared.http.get(view["previewUrl"])).content[4:8] == b"ftyp"


@on_shared
async def test_a_video_that_can_be_seen_can_no_longer_be_given_back(shared: World) -> None:
    job_id, email = await rendered(shared, f"{shared.sandbox.fal_url}/files/b/x/out.mp4")
    assert (await shared.status(job_id, email))["previewUrl"]
    answer = await shared.http.post(
        "/api/templates/video/cancel",
        json={"jobId": job_id, "ifFinished": "discard"},
        headers=shared.headers(email),
    )
    check_problem(answer, 409, "too_late")


@on_shared
@pytest.mark.parametrize(
    "source_url",
    [None, "http://10.0.0.1/x.mp4", "https://evil.example/x.mp4", "javascript:alert(1)", "x"],
)
async def test_nobody_is_sent_to_an_address_that_we_would_not_fetch(
    shared: World, source_url: str | None
) -> None:
    job_id, email = await rendered(shared, source_url)
    assert (await shared.status(job_id, email))["previewUrl"] is None


@on_shared
@pytest.mark.parametrize("state", [each for each in JobState if each is not JobState.RENDERED])
async def test_a_preview_is_for_the_time_between_alone(shared: World, state: JobState) -> None:
    job_id, email = await rendered(shared, f"{shared.sandbox.fal_url}/files/b/x/out.mp4")
    await shared.runtime.store.database.write(
        "UPDATE $job SET state = $state, version += 1", job=job_record(job_id), state=state.value
    )
    assert (await shared.status(job_id, email))["previewUrl"] is None


@on_shared
async def test_a_cancel_is_seen_until_it_is_answered(shared: World) -> None:
    email = fresh_email()
    await shared.grant(100, email)
    job_id = await shared.submit(email=email, brand=SILENT)
    await shared.until_state(job_id, "submitted")
    assert (await shared.status(job_id, email))["ifFinished"] is None
    answer = await shared.http.post(
        "/api/templates/video/cancel",
        json={"jobId": job_id, "ifFinished": "discard"},
        headers=shared.headers(email),
    )
    assert (answer.status_code, answer.json()["ifFinished"]) == (202, "discard")
    await shared.quiet()
    await shared.runtime.store.database.write(
        "UPDATE $job SET state = 'cancelled', version += 1, due = NONE", job=job_record(job_id)
    )
    assert (await shared.status(job_id, email))["ifFinished"] is None
