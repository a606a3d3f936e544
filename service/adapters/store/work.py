"""Finding jobs, by name, owner, due time or need; parking, pauses. See ports.store.Work."""

import logging
from collections.abc import Collection, Sequence

from surrealdb import RecordID

from service.adapters.rows import (
    Row,
    account_record,
    job_record,
    pause_record,
    seconds,
    state_names,
    to_job,
    to_pause,
)
from service.adapters.store.base import QueryStore
from service.adapters.store.batches import Asked, Batches
from service.adapters.surreal import Database
from service.domain.errors import NotFound, Transient
from service.domain.job import Job, JobState
from service.domain.pauses import Activity, Gate, Pause

log = logging.getLogger(__name__)


class WorkStore(QueryStore):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._rows: Batches[RecordID, Row | None] = Batches(self._read_rows)

    async def job(self, job_id: str) -> Job:
        row = await self._rows.ask(job_record(job_id))
        if not row:
            raise NotFound("there is no such job")
        job = readable(row)
        if job is None:
            raise Transient("this job is in a state that only newer code knows")
        return job

    async def _read_rows(self, asked: Asked[RecordID, Row | None]) -> None:
        records = {record.id: record for record, _ in asked}
        rows = await self._read("read_jobs_named", jobs=list(records.values()))
        found = {row["id"].id: row for row in rows}
        for record, told in asked:
            if not told.done():
                told.set_result(found.get(record.id))

    async def versions(self, job_ids: Sequence[str]) -> dict[str, int]:
        rows = await self._read("read_versions", jobs=[job_record(each) for each in job_ids])
        return {str(row["id"].id): row["version"] for row in rows}

    async def jobs_named(self, job_ids: Sequence[str]) -> list[Job]:
        rows = await self._read("read_jobs_named", jobs=[job_record(each) for each in job_ids])
        return [job for row in rows if (job := readable(row)) is not None]

    async def jobs(self, email: str, *, before: str | None, limit: int) -> list[Job]:
        cursor = None if before is None else job_record(before)
        rows = await self._read(
            "read_jobs", account=account_record(email), before=cursor, limit=limit
        )
        if rows is None:
            raise NotFound("there is no such page")
        return [job for row in rows if (job := readable(row)) is not None]

    async def due_jobs(
        self, limit: int, delays_s: Sequence[float], *, leave: Collection[JobState] = ()
    ) -> list[Job]:
        rows = await self._write(
            "due_jobs",
            repeatable=False,
            limit=limit,
            delays=[seconds(each) for each in delays_s],
            last=len(delays_s) - 1,
            leave=state_names(frozenset(leave)),
        )
        return [job for row in rows if (job := readable(row)) is not None]

    async def make_due(self, job_id: str) -> bool:
        return await self._did("make_due", job_id)

    async def park(self, job: Job, reason: str, *, leased: bool = False) -> bool:
        """`leased`: by the holder of the job's lease, who alone may park it meanwhile."""
        return await self._did(
            "park",
            job.id,
            reason=reason,
            state=job.state.value,
            attempt=job.submit_attempts,
            fence=job.fence if leased else None,
        )

    async def redrive(self, job_id: str) -> bool:
        return await self._did("redrive", job_id)

    async def gate(self, activity: Activity, *, probe_s: float) -> Gate:
        # The answer is only the asker's: asked again, a probe would find itself shut out.
        answer = await self._write(
            "gate", repeatable=False, pause=pause_record(activity), probe=seconds(probe_s)
        )
        return Gate(answer)

    async def pause(
        self, activity: Activity, reason: str, *, delays_s: Sequence[float], probed: bool
    ) -> bool:
        opened = await self._write(
            "pause",
            pause=pause_record(activity),
            reason=reason,
            delays=[seconds(each) for each in delays_s],
            last=len(delays_s) - 1,
            probed=probed,
        )
        return bool(opened)

    async def resume(self, activity: Activity) -> bool:
        return bool(await self._write("resume", pause=pause_record(activity)))

    async def pause_by_hand(self, activity: Activity, reason: str) -> bool:
        done = await self._write("pause_by_hand", pause=pause_record(activity), reason=reason)
        return bool(done)

    async def resume_by_hand(self, activity: Activity) -> bool:
        return bool(await self._write("resume_by_hand", pause=pause_record(activity)))

    async def pauses(self) -> list[Pause]:
        return [to_pause(row) for row in await self._read("read_pauses")]


def readable(row: Row) -> Job | None:
    """A job this code can act on. One in a state that only newer code knows is left to that."""
    try:
        return to_job(row)
    except (KeyError, ValueError):
        log.exception("a job's row is not understood", extra={"job_id": str(row.get("id"))})
        return None
