"""jobs.*: lists of jobs, one job's receipt, another start for a parked one, giving one up."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from service.domain.errors import TooLate
from service.domain.job import FINAL, IfFinished, Job, JobState
from service.domain.operators import JobFilter
from service.flows.cancel import give_up
from service.flows.late import successor_id
from service.operations.answers import ChangedJob, JobsAnswer, job_answer
from service.operations.base import Arguments, Context
from service.operations.receipt import ReceiptAnswer, receipt_answer

JobId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
MAX_PAGE = 200


class ListJobs(Arguments):
    """The newest jobs; or the parked ones, or those that are due, longest first."""

    parked: bool = False
    due: bool = False
    state: JobState | None = None
    email: Annotated[str, Field(min_length=3, max_length=320)] | None = None
    before: JobId | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50

    @model_validator(mode="after")
    def _one_order(self) -> Self:
        if self.parked and self.due:
            raise ValueError("parked jobs are never due: ask for one of the two")
        return self


class ShowJob(Arguments):
    id: JobId


class RedriveJob(Arguments):
    id: JobId
    dry_run: bool = False


class CancelJob(Arguments):
    """`ifFinished`: what to do with the video if fal finishes all the same."""

    id: JobId
    if_finished: IfFinished = IfFinished.KEEP
    dry_run: bool = False


async def list_jobs(context: Context, wanted: ListJobs) -> JobsAnswer:
    found = await context.store.list_jobs(
        JobFilter(
            parked=wanted.parked,
            due=wanted.due,
            state=wanted.state,
            email=wanted.email,
            before=wanted.before,
            limit=wanted.limit + 1,
        )
    )
    page = found[: wanted.limit]
    more = len(found) > len(page)
    return {
        "jobs": [job_answer(each) for each in page],
        "nextBefore": page[-1].id if more else None,
    }


async def show(context: Context, wanted: ShowJob) -> ReceiptAnswer:
    return receipt_answer(await context.store.job_record(wanted.id, successor_id(wanted.id)))


async def redrive(context: Context, wanted: RedriveJob) -> ChangedJob:
    """Give a parked job another start. A repeat changes nothing."""
    job = await context.store.job(wanted.id)
    if wanted.dry_run:
        would = f"go on from {job.state} with its counts begun anew" if job.parked else "nothing"
        return _changed(job, _not_parked(job) if not job.parked else would, would=would)
    if await context.store.redrive(job.id):
        now = await context.store.job(job.id)
        said = f"redriven from {job.state}; the next sweep takes it up"
        return _changed(now, said, changed=True)
    return _changed(job, _not_parked(job))


async def cancel(context: Context, wanted: CancelJob) -> ChangedJob:
    """Give a job up: a parked one at once, with its credits back; any other by asking fal.

    A repeat changes at most the choice. Raises TooLate if a parked job is parked no more.
    """
    store = context.store
    job = await store.job(wanted.id)
    if wanted.dry_run:
        would = _would_cancel(job)
        return _changed(job, would if would != "nothing" else _too_late(job), would=would)
    if job.parked:
        if not await give_up(store, job):
            raise TooLate("the job has moved on meanwhile; look again")
        return _changed(await store.job(job.id), "given up, credits returned", changed=True)
    if await store.request_cancel(job.id, wanted.if_finished):
        now = await store.job(job.id)
        said = "noted; the next sweep asks fal to stop it"
        return _changed(now, said, changed=now.version != job.version)
    return _changed(job, _too_late(job))


def _changed(job: Job, said: str, *, changed: bool = False, would: str | None = None) -> ChangedJob:
    answer: ChangedJob = {"changed": changed, "said": said, "job": job_answer(job)}
    return answer if would is None else {**answer, "would": would}


def _would_cancel(job: Job) -> str:
    if job.parked:
        return f"end it now as cancelled and return its {job.credits} credits"
    if job.state in FINAL or job.state is JobState.RENDERED:
        return "nothing"
    if job.state is JobState.RESERVED:
        return f"end it at the next sweep and return its {job.credits} credits: nothing is at fal"
    return "ask fal to stop it at the next sweep; its credits stay reserved until fal's verdict"


def _not_parked(job: Job) -> str:
    return f"it is {job.state} and not parked; nothing was changed"


def _too_late(job: Job) -> str:
    ended = "has ended" if job.state in FINAL else "is rendered"
    return f"it {ended} ({job.state}); nothing was changed"
