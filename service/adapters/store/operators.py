"""What operators look at, and the log of what they had done; see ports.store.Operators."""

from collections.abc import Mapping
from typing import Any, Final

from surrealdb import RecordID

from service.adapters.operator_rows import (
    to_action,
    to_delivery_facts,
    to_job_record,
    to_totals,
)
from service.adapters.rows import (
    account_record,
    job_record,
    library_record,
    refund_record,
    reservation_record,
    settlement_record,
)
from service.adapters.store.base import QueryStore
from service.adapters.store.work import readable
from service.domain.errors import NotFound
from service.domain.job import Job, JobState
from service.domain.operators import (
    Action,
    DeliveryFacts,
    Door,
    JobFilter,
    JobRecord,
    Totals,
)

SHOWN: Final = 200  # of anything on one job's receipt


class OperatorStore(QueryStore):
    async def totals(self) -> Totals:
        states = [each.value for each in JobState]
        return to_totals(await self._read("read_totals", states=states))

    async def list_jobs(self, wanted: JobFilter) -> list[Job]:
        """Raises NotFound if `before` names no job."""
        rows = await self._read(
            _list_query(wanted),
            state=None if wanted.state is None else wanted.state.value,
            account=None if wanted.email is None else account_record(wanted.email),
            before=None if wanted.before is None else job_record(wanted.before),
            limit=wanted.limit,
        )
        if rows is None:
            raise NotFound("there is no such page")
        return [job for row in rows if (job := readable(row)) is not None]

    async def list_deliveries(
        self, *, limit: int, parked: bool = False, recent: bool = False, job_id: str | None = None
    ) -> list[DeliveryFacts]:
        """One job's; else those that need a person, or all, or those still to be handled."""
        if job_id is not None:
            rows = await self._read("list_deliveries_of", job=job_record(job_id), limit=limit)
        elif parked:
            rows = await self._read("list_parked_deliveries", limit=limit)
        else:
            kind = "list_recent_deliveries" if recent else "list_waiting_deliveries"
            rows = await self._read(kind, limit=limit)
        return [to_delivery_facts(row) for row in rows]

    async def job_record(self, job_id: str, late_id: str) -> JobRecord:
        """`late_id` names the job that would deliver this one's late video. Raises NotFound."""
        found = await self._read(
            "read_receipt",
            job=job_record(job_id),
            late=job_record(late_id),
            library=library_record(job_id),
            entries=[
                reservation_record(job_id),
                settlement_record(job_id),
                refund_record(job_id),
            ],
            limit=SHOWN,
        )
        if not found:
            raise NotFound("there is no such job")
        return to_job_record(found)

    async def note_action(
        self,
        action_id: str,
        door: Door,
        name: str,
        arguments: Mapping[str, Any],
        *,
        changed: bool,
        job_id: str | None,
    ) -> None:
        await self._write(
            "note_action",
            action=RecordID("operator_action", action_id),
            door=door.value,
            name=name,
            arguments=dict(arguments),
            changed=changed,
            job=None if job_id is None else job_record(job_id),
        )

    async def actions(self, limit: int) -> list[Action]:
        """The latest first."""
        return [to_action(row) for row in await self._read("read_actions", limit=limit)]


def _list_query(wanted: JobFilter) -> str:
    if wanted.parked:
        return "list_parked_jobs"
    if wanted.due:
        return "list_due_jobs"
    if wanted.email is not None:
        return "list_jobs_of"
    return "list_jobs" if wanted.state is None else "list_jobs_in_state"
