"""The verdict that made a job rendered, heard again after its video proved to be unusable."""

from service.domain.verdict import Rendered
from service.flows.conclude import Source, conclude
from tests.world import World


async def test_a_verdict_heard_twice_does_not_revive_the_job_whose_video_could_not_be_had(
    world: World,
) -> None:
    """A sweep asks fal while a worker finds the video too large: both tell of one request."""
    await world.grant(100)
    await world.faults("huge")
    job_id = await world.submit()
    await world.until(job_id, "failed")
    await world.quiet()
    job = await world.runtime.store.job(job_id)
    assert job.submission is not None
    source = Source(request_id=job.submission.request_id, attempt=job.submit_attempts)

    outcome = await conclude(world.runtime.services, job, source, Rendered(job.source_url))

    library = (await world.http.get("/api/library", headers=world.headers())).json()["items"]
    assert outcome == "repeat"
    assert [item["jobId"] for item in library] == [job_id]
