"""Deleting, purging, closing accounts; see ports.store.Deletions."""

from collections.abc import Collection, Sequence

from service.adapters.rows import (
    account_record,
    forgotten_record,
    job_record,
    library_record,
    seconds,
    to_job,
)
from service.adapters.store.base import QueryStore
from service.domain.job import Job
from service.ports import Deleted, Removals


class DeletionStore(QueryStore):
    async def begin_delete(self, job_id: str) -> Deleted:
        outcome = await self._write(
            "begin_delete", job=job_record(job_id), library=library_record(job_id)
        )
        return Deleted(outcome)

    async def due_removals(self, limit: int) -> Removals:
        found = await self._read("due_removals", limit=limit)
        return Removals(
            jobs=tuple(str(each.id) for each in found["jobs"]),
            accounts=tuple(str(each.id) for each in found["accounts"]),
        )

    async def take_purge(self, job_id: str, delays_s: Sequence[float]) -> Job | None:
        rows = await self._write(
            "take_purge",
            repeatable=False,
            job=job_record(job_id),
            delays=[seconds(each) for each in delays_s],
            last=len(delays_s) - 1,
        )
        return to_job(rows[0]) if rows else None

    async def purge_again(self, job_id: str) -> bool:
        return await self._did("purge_again", job_id)

    async def unhandled_deliveries(self, job_id: str) -> list[str]:
        found = await self._read("unhandled_deliveries", job=job_record(job_id))
        return [str(each) for each in found]

    async def empty_deliveries(self, job: Job) -> frozenset[str]:
        requests = await self._write(
            "empty_deliveries",
            job=job_record(job.id),
            recovers=None if job.recovers is None else job_record(job.recovers),
            request_id=None if job.submission is None else job.submission.request_id,
            nothing=b"",
        )
        return frozenset(requests)

    async def note_forgotten(self, job_id: str, request_id: str) -> bool:
        return await self._did("note_forgotten", job_id, forgotten=forgotten_record(request_id))

    async def forgotten(self, request_ids: Collection[str]) -> frozenset[str]:
        records = [forgotten_record(each) for each in request_ids]
        return frozenset(await self._read("read_forgotten", forgotten=records))

    async def finish_purge(self, job: Job, kept: str | None) -> bool:
        return await self._did(
            "finish_purge", job.id, attempt=job.purge_attempts, kept=kept, nothing=b""
        )

    async def close_account(self, email: str) -> bool:
        return bool(await self._write("close_account", account=account_record(email)))

    async def take_closing(self, email: str, limit: int, *, retry_in_s: float) -> list[Job] | None:
        rows = await self._write(
            "take_closing",
            repeatable=False,
            account=account_record(email),
            limit=limit,
            retry_in=seconds(retry_in_s),
        )
        return None if rows is None else [to_job(row) for row in rows]

    async def count_jobs(self, email: str) -> int:
        return int(await self._read("count_jobs", account=account_record(email)))
