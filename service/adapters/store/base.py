"""How a query is run: by its name in queries/*.surql, as a read or a write."""

from collections.abc import Callable
from typing import Any

from service.adapters.queries import load_queries
from service.adapters.rows import job_record, to_job
from service.adapters.surreal import Database
from service.domain.job import Job


class QueryStore:
    """The base of the store's parts; each of their methods runs the query of its name."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._queries = load_queries()
        self._listeners: list[Callable[[str], None]] = []

    def on_write(self, listener: Callable[[str], None]) -> None:
        """Tell `listener` the id of each job that this process writes to, once it is written."""
        self._listeners.append(listener)

    async def _read(self, query: str, **params: Any) -> Any:
        return await self.database.read(self._queries[query], **params)

    async def _write(self, query: str, *, repeatable: bool = True, **params: Any) -> Any:
        written = await self.database.write(self._queries[query], repeatable=repeatable, **params)
        if job := params.get("job"):
            for tell in self._listeners:
                tell(str(job.id))
        return written

    async def _did(self, query: str, job_id: str, **params: Any) -> bool:
        return bool(await self._write(query, job=job_record(job_id), **params))

    async def _moved(self, query: str, job_id: str, **params: Any) -> Job | None:
        """A move that only its winner may act on: a lost answer is not asked for again."""
        rows = await self._write(query, repeatable=False, job=job_record(job_id), **params)
        return to_job(rows[0]) if rows else None
