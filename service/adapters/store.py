"""The Store port on SurrealDB: parameters in, rows out. The facts change in queries.surql."""

import logging
from collections.abc import Sequence
from typing import Any, Final

from surrealdb import RecordID

from service.adapters.queries import load_queries
from service.adapters.rows import (
    Row,
    account_record,
    inbox_record,
    job_record,
    library_record,
    seconds,
    settlement_record,
    state_names,
    template_params,
    to_balance,
    to_inbox_entry,
    to_job,
    to_ledger_entry,
    to_template,
)
from service.adapters.surreal import Database
from service.domain.credits import Balance, LedgerEntry, account_name
from service.domain.errors import NotFound
from service.domain.inbox import Delivery, InboxEntry
from service.domain.job import Job, JobError, JobState, NewJob, Submission, enters_from
from service.domain.templates import Template
from service.ports import Applied, Grounds, Reserved, Settled, StoredObject

log = logging.getLogger(__name__)

NO_CREDITS: Final = Balance(available=0, reserved=0, captured=0, granted=0)
# A verdict wakes a worker in the same process; the sweep steps in if that one died.
RENDERED_GRACE_S: Final = 15.0


class SurrealStore:
    """See ports.Store; each method runs the query of its name."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._queries = load_queries()

    # -------------------------------------------------------------------------------- credits

    async def grant(self, email: str, amount: int, grant_id: str) -> Balance:
        name = account_name(email)
        row = await self._write(
            "grant_credits",
            entry=RecordID("ledger", ["grant", grant_id]),
            account=RecordID("account", name),
            email=name,
            credits=amount,
        )
        return to_balance(row)

    async def balance(self, email: str) -> Balance:
        row = await self._read("read_balance", account=account_record(email))
        return to_balance(row) if row else NO_CREDITS

    async def ledger(self, email: str, limit: int) -> list[LedgerEntry]:
        rows = await self._read("read_ledger", account=account_record(email), limit=limit)
        return [to_ledger_entry(row) for row in rows]

    # ------------------------------------------------------------------------------ templates

    async def save_template(self, template: Template) -> None:
        await self._write("save_template", **template_params(template))

    async def add_template(self, template: Template) -> bool:
        return bool(await self._write("add_template", **template_params(template)))

    async def template(self, slug: str) -> Template:
        row = await self._read("read_template", template=RecordID("template", slug))
        if not row:
            raise NotFound(f"there is no template {slug!r}")
        return to_template(row)

    async def templates(self) -> list[Template]:
        return [to_template(row) for row in await self._read("read_templates")]

    # ----------------------------------------------------------------------------------- jobs

    async def reserve(self, job: NewJob, *, max_in_flight: int, grace_s: float) -> Reserved:
        outcome = await self._write(
            "reserve",
            job=job_record(job.id),
            entry=RecordID("ledger", [job.id, "reserve"]),
            account=account_record(job.email),
            email=job.email,
            digest=job.digest,
            template_id=job.template_id,
            provider=job.provider,
            fal_model=job.fal_model,
            arguments=dict(job.arguments),
            duration_s=job.duration_s,
            credits=job.credits,
            expected_render_s=job.expected_render_s,
            start_image_key=job.start_image_key,
            object_key=job.object_key,
            max_in_flight=max_in_flight,
            grace=seconds(grace_s),
        )
        return Reserved(outcome)

    async def job(self, job_id: str) -> Job:
        row = await self._read("read_job", job=job_record(job_id))
        if not row:
            raise NotFound("there is no such job")
        return to_job(row)

    async def jobs(self, email: str, *, before: str | None, limit: int) -> list[Job]:
        cursor = None if before is None else job_record(before)
        rows = await self._read(
            "read_jobs", account=account_record(email), before=cursor, limit=limit
        )
        if rows is None:
            raise NotFound("there is no such page")
        return [to_job(row) for row in rows]

    async def begin_submission(self, job_id: str, *, grace_s: float) -> Job | None:
        return await self._moved("begin_submission", job_id, grace=seconds(grace_s))

    async def record_submission(
        self, job_id: str, attempt: int, submission: Submission, *, expected_s: float
    ) -> bool:
        return await self._did(
            "record_submission",
            job_id,
            attempt=attempt,
            request_id=submission.request_id,
            status_url=submission.status_url,
            response_url=submission.response_url,
            cancel_url=submission.cancel_url,
            expected=seconds(expected_s),
        )

    async def submission_unknown(
        self, job_id: str, attempt: int, reason: str, *, grace_s: float
    ) -> bool:
        return await self._did(
            "submission_unknown", job_id, attempt=attempt, reason=reason, grace=seconds(grace_s)
        )

    async def submission_void(
        self,
        job: Job,
        reason: str,
        *,
        retry_in_s: float,
        request_id: str | None = None,
        entry_id: str | None = None,
    ) -> bool:
        return await self._did(
            "submission_void",
            job.id,
            attempt=job.submit_attempts,
            reason=reason,
            retry_in=seconds(retry_in_s),
            request_id=request_id,
            entry=inbox_record(entry_id),
        )

    async def count_lookup(self, job: Job, *, apart_s: float) -> int:
        counted = await self._write(
            "count_lookup",
            job=job_record(job.id),
            attempt=job.submit_attempts,
            apart=seconds(apart_s),
        )
        return int(counted)

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
            grace=seconds(RENDERED_GRACE_S),
        )
        return Applied(outcome)

    async def close_unfilled(
        self,
        job_id: str,
        to: JobState,
        error: JobError,
        grounds: Grounds,
    ) -> Applied:
        outcome = await self._write(
            "close_unfilled",
            job=job_record(job_id),
            settlement=settlement_record(job_id),
            to=to.value,
            error={"code": error.code, "message": error.message},
            only_from=state_names(enters_from(to)),
            attempt=grounds.attempt,
            fence=grounds.fence,
            request_id=grounds.request_id,
            entry=inbox_record(grounds.entry_id),
        )
        return Applied(outcome)

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
        )
        return Settled(outcome)

    async def due_jobs(self, limit: int, delays_s: Sequence[float]) -> list[Job]:
        rows = await self._write(
            "due_jobs",
            repeatable=False,
            limit=limit,
            delays=[seconds(each) for each in delays_s],
            last=len(delays_s) - 1,
        )
        return [job for row in rows if (job := _readable(row)) is not None]

    async def make_due(self, job_id: str) -> bool:
        return await self._did("make_due", job_id)

    # ---------------------------------------------------------------------------------- inbox

    async def record_delivery(self, delivery: Delivery, *, grace_s: float) -> bool:
        created = await self._write(
            "record_delivery",
            entry=inbox_record(delivery.entry_id),
            job=job_record(delivery.job_id),
            attempt=delivery.attempt,
            request_id=delivery.request_id,
            user_id=delivery.user_id,
            body=delivery.body,
            stale=delivery.stale,
            grace=seconds(grace_s),
        )
        return bool(created)

    async def take_delivery(self, entry_id: str, *, retry_in_s: float) -> InboxEntry | None:
        rows = await self._write(
            "take_delivery",
            repeatable=False,
            entry=inbox_record(entry_id),
            retry_in=seconds(retry_in_s),
        )
        return to_inbox_entry(rows[0]) if rows else None

    async def close_delivery(self, entry_id: str, outcome: str) -> bool:
        return bool(
            await self._write("close_delivery", entry=inbox_record(entry_id), outcome=outcome)
        )

    async def park_delivery(self, entry_id: str, reason: str) -> bool:
        return bool(await self._write("park_delivery", entry=inbox_record(entry_id), reason=reason))

    async def due_deliveries(self, limit: int, *, retry_in_s: float) -> list[str]:
        rows = await self._write(
            "due_deliveries", repeatable=False, limit=limit, retry_in=seconds(retry_in_s)
        )
        return [str(each) for each in rows]

    async def oldest_waiting_delivery_s(self) -> float | None:
        waited = await self._read("read_health")
        return None if waited is None else float(waited)

    # -------------------------------------------------------------------------------- plumbing

    async def _read(self, query: str, **params: Any) -> Any:
        return await self.database.read(self._queries[query], **params)

    async def _write(self, query: str, *, repeatable: bool = True, **params: Any) -> Any:
        return await self.database.write(self._queries[query], repeatable=repeatable, **params)

    async def _did(self, query: str, job_id: str, **params: Any) -> bool:
        return bool(await self._write(query, job=job_record(job_id), **params))

    async def _moved(self, query: str, job_id: str, **params: Any) -> Job | None:
        """A move that only its winner may act on: a lost answer is not asked for again."""
        rows = await self._write(query, repeatable=False, job=job_record(job_id), **params)
        return to_job(rows[0]) if rows else None


def _readable(row: Row) -> Job | None:
    """A job this code can act on. One in a state that only newer code knows is left to that."""
    try:
        return to_job(row)
    except (KeyError, ValueError):
        log.exception("a job's row is not understood", extra={"job_id": str(row.get("id"))})
        return None
