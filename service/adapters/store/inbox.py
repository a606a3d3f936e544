"""Deliveries, from their receipt to their handling; see ports.store.Inbox."""

from collections.abc import Sequence

from service.adapters.rows import inbox_record, job_record, seconds, to_inbox_entry
from service.adapters.store.base import QueryStore
from service.adapters.store.together import Fact, Row, Together
from service.adapters.surreal import Database
from service.domain.errors import NotFound
from service.domain.inbox import Delivery, InboxEntry


class InboxStore(QueryStore):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._together = Together(
            lambda rows: self._write("record_deliveries", rows=rows),
            self._recorded,
        )

    async def record_delivery(self, delivery: Delivery, *, grace_s: float) -> bool:
        entry_id = delivery.entry_id
        row = {
            "id": inbox_record(entry_id),
            "job": job_record(delivery.job_id),
            "attempt": delivery.attempt,
            "request_id": delivery.request_id,
            "user_id": delivery.user_id,
            "body": delivery.body,
            "stale": delivery.stale,
            "grace": seconds(grace_s),
        }
        return await self._together.record(Fact(id=entry_id, row=row, bytes=len(delivery.body)))

    async def _recorded(self, rows: Sequence[Row]) -> list[str]:
        found = await self._read("find_deliveries", entries=[each["id"] for each in rows])
        return [str(each.id) for each in found if each is not None]

    async def take_delivery(self, entry_id: str, *, retry_in_s: float) -> InboxEntry | None:
        rows = await self._write(
            "take_delivery",
            repeatable=False,
            entry=inbox_record(entry_id),
            retry_in=seconds(retry_in_s),
        )
        return to_inbox_entry(rows[0]) if rows else None

    async def put_off_delivery(self, entry_id: str, *, retry_in_s: float) -> bool:
        done = await self._write(
            "put_off_delivery",
            repeatable=False,
            entry=inbox_record(entry_id),
            retry_in=seconds(retry_in_s),
        )
        return bool(done)

    async def close_delivery(self, entry_id: str, outcome: str) -> bool:
        done = await self._write("close_delivery", entry=inbox_record(entry_id), outcome=outcome)
        return bool(done)

    async def park_delivery(self, entry_id: str, reason: str) -> bool:
        return bool(await self._write("park_delivery", entry=inbox_record(entry_id), reason=reason))

    async def redrive_delivery(self, entry_id: str) -> bool:
        return bool(await self._write("redrive_delivery", entry=inbox_record(entry_id)))

    async def due_deliveries(self, limit: int, *, retry_in_s: float) -> list[str]:
        rows = await self._write(
            "due_deliveries", repeatable=False, limit=limit, retry_in=seconds(retry_in_s)
        )
        return [str(each) for each in rows]

    async def delivery(self, entry_id: str) -> InboxEntry:
        row = await self._read("read_delivery", entry=inbox_record(entry_id))
        if not row:
            raise NotFound("there is no such delivery")
        return to_inbox_entry(row)

    async def oldest_waiting_delivery_s(self) -> float | None:
        waited = await self._read("read_health")
        return None if waited is None else float(waited)
