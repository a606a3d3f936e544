"""What a verdict makes of a job, up to its settlement; see ports.store.Endings."""

from typing import Any, Final

from service.adapters.rows import (
    inbox_record,
    job_record,
    library_record,
    reservation_record,
    seconds,
    settlement_record,
    state_names,
    write_off_record,
)
from service.adapters.store.base import QueryStore
from service.domain.job import Job, JobError, JobState, enters_from
from service.domain.policy import POSTER_GRACE_S
from service.domain.write_offs import WriteOff
from service.ports import Applied, Grounds, Recovered, Settled, StoredObject, Successor

# A verdict wakes a worker in the same process; the sweep steps in if that one died.
RENDERED_GRACE_S: Final = 15.0


class EndingStore(QueryStore):
    async def apply_rendered(
        self, job_id: str, request_id: str, source_url: str | None, *, entry_id: str | None
    ) -> Applied:
        outcome = await self._write(
            "apply_rendered",
            job=job_record(job_id),
            request_id=request_id,
            source_url=source_url,
            only_from=state_names(enters_from(JobState.RENDERED)),
            entry=inbox_record(entry_id),
            surplus=write_off_record(job_id, request_id),
            grace=seconds(RENDERED_GRACE_S),
        )
        return Applied(outcome)

    async def close_unfilled(
        self, job_id: str, to: JobState, error: JobError, grounds: Grounds
    ) -> Applied:
        only_from = enters_from(to)
        if grounds.states is not None:
            only_from &= grounds.states
        outcome = await self._write(
            "close_unfilled",
            job=job_record(job_id),
            settlement=settlement_record(job_id),
            to=to.value,
            error={"code": error.code, "message": error.message},
            only_from=state_names(only_from),
            attempt=grounds.attempt,
            fence=grounds.fence,
            request_id=grounds.request_id,
            entry=inbox_record(grounds.entry_id),
            **_write_off_params(grounds.cost),
        )
        return Applied(outcome)

    async def recover_late(
        self, job: Job, successor: Successor, request_id: str, source_url: str | None
    ) -> Recovered:
        outcome = await self._write(
            "recover_late",
            late=job_record(job.id),
            job=job_record(successor.job_id),
            entry=reservation_record(successor.job_id),
            object_key=successor.object_key,
            costs=write_off_record(job.id, request_id),
            request_id=request_id,
            source_url=source_url,
            grace=seconds(RENDERED_GRACE_S),
        )
        return Recovered(outcome)

    async def write_off(self, cost: WriteOff) -> bool:
        return bool(await self._write("write_off", **_write_off_params(cost)))

    async def lease(self, job_id: str, holder: str, *, lease_s: float) -> Job | None:
        return await self._moved("lease", job_id, holder=holder, lease=seconds(lease_s))

    async def heartbeat(self, job_id: str, fence: int, *, lease_s: float) -> bool:
        return await self._did("heartbeat", job_id, fence=fence, lease=seconds(lease_s))

    async def give_back(
        self, job: Job, reason: str, *, retry_in_s: float, counted: bool, gone: bool = False
    ) -> bool:
        return await self._did(
            "give_back",
            job.id,
            fence=job.fence,
            reason=reason,
            retry_in=seconds(retry_in_s),
            counted=counted,
            gone=gone,
        )

    async def new_source(self, job_id: str, fence: int, source_url: str) -> bool:
        return await self._did("new_source", job_id, fence=fence, source_url=source_url)

    async def settle_ready(self, job_id: str, fence: int, stored: StoredObject) -> Settled:
        outcome = await self._write(
            "settle_ready",
            job=job_record(job_id),
            settlement=settlement_record(job_id),
            library=library_record(job_id),
            fence=fence,
            object_key=stored.key,
            object_size=stored.size,
            object_sha256=stored.sha256,
            thumbnail_grace=seconds(POSTER_GRACE_S),
        )
        return Settled(outcome)


def _write_off_params(cost: WriteOff | None) -> dict[str, Any]:
    if cost is None:
        return {"write_off": None}
    return {
        "write_off": write_off_record(cost.job_id, cost.request_id),
        "cost_job": job_record(cost.job_id),
        "cost_request": cost.request_id,
        "cost_reason": cost.reason.value,
        "cost_credits": cost.credits,
    }
