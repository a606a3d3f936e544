"""What reading tests share: the shapes that are documented, and a job in any state."""

import re
from collections.abc import Mapping
from typing import Any

import httpx

from service.adapters.rows import job_record
from service.domain.job import JobState
from tests.web.deliveries import SILENT
from tests.web.forms import fresh_email
from tests.world import World

STATUS_PATH = "/api/templates/video/status"
VIEW = {
    "jobId": str,
    "status": str,
    "progress": int,
    "etaSeconds": int | None,
    "previewUrl": str | None,
    "thumbnailUrl": str | None,
    "ifFinished": str | None,
    "url": str | None,
    "key": str | None,
    "credits": int | None,
    "error": dict | None,
    "version": int,
    "createdAt": str,
    "updatedAt": str,
}
ITEM = VIEW | {"templateSlug": str, "provider": str, "durationSeconds": int, "price": int}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def check_shape(found: Mapping[str, Any], shape: Mapping[str, Any]) -> None:
    assert found.keys() == shape.keys()
    for name, kind in shape.items():
        assert isinstance(found[name], kind), name
        assert not isinstance(found[name], bool), name


async def ask(world: World, job_id: str, email: str, **headers: str) -> httpx.Response:
    return await world.http.get(
        STATUS_PATH, params={"jobId": job_id}, headers=world.headers(email) | headers
    )


async def put_in(world: World, job_id: str, state: JobState) -> None:
    """As if the job had come to that state by itself."""
    await world.runtime.store.database.write(
        "UPDATE $job SET state = $state, version += 1, due = NONE,"
        " error = IF $failed { { code: 'made_up', message: 'Made up.' } } ELSE { NONE }",
        job=job_record(job_id),
        state=state.value,
        failed=state in {JobState.FAILED, JobState.CANCELLED},
    )


async def one_job(world: World) -> tuple[str, str]:
    email = fresh_email()
    await world.grant(100, email)
    job_id = await world.submit(email=email, brand=SILENT)
    await world.until_state(job_id, "submitted")
    return job_id, email
