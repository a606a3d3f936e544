"""Deliveries, from their receipt to their handling; see ports.store.Inbox."""

from service.adapters.rows import inbox_record, job_record, seconds, to_inbox_entry
from service.adapters.store.base import QueryStore
from service.adapters.surreal_errors import AlreadyExists
from service.domain.errors import NotFound
from service.domain.inbox import Delivery, InboxEntry


class InboxStore(QueryStore):
    async def record_delivery(self, delivery: Delivery, *, grace_s: float) -> bool:
        try:
            await self._write(
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
        except AlreadyExists:
            return False
        return True

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
