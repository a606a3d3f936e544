"""What every route asks of its request: the process's parts, and the caller's own job."""

import re
from typing import Final

from starlette.requests import Request

from service.domain.errors import FieldError, Invalid, NotFound
from service.domain.job import Job
from service.web.auth import signed_in
from service.wiring import Runtime

JOB_ID: Final = re.compile(r"^[A-Za-z0-9_-]{1,64}$")


def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


async def own_job(request: Request, runtime: Runtime) -> Job:
    """The job asked for, if it is the caller's: anybody else's looks like none at all."""
    email = await signed_in(request, runtime)
    job_id = request.query_params.get("jobId", "")
    if not job_id:
        raise Invalid([FieldError("jobId", "is missing")])
    return await job_of(email, job_id, runtime)


async def job_of(email: str, job_id: str, runtime: Runtime) -> Job:
    """One of this owner's jobs that is not deleted. Raises NotFound, and Transient."""
    if not JOB_ID.fullmatch(job_id):
        raise NotFound("there is no such job")
    job = await runtime.services.store.job(job_id)
    if job.owner != email or job.is_deleted:
        raise NotFound("there is no such job")
    return job
