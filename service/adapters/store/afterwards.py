"""Thumbnails and render times; see ports.store.Afterwards."""

from collections.abc import Sequence

from surrealdb import RecordID

from service.adapters.rows import seconds
from service.adapters.store.base import QueryStore
from service.domain.job import Job
from service.domain.render_times import RECENT


class AfterwardsStore(QueryStore):
    async def begin_afterwards(self, job_id: str, delays_s: Sequence[float]) -> Job | None:
        return await self._moved(
            "begin_afterwards",
            job_id,
            delays=[seconds(each) for each in delays_s],
            last=len(delays_s) - 1,
        )

    async def set_thumbnail(self, job_id: str, key: str) -> bool:
        return await self._did("set_thumbnail", job_id, key=key)

    async def drop_thumbnail(self, job_id: str) -> bool:
        return await self._did("drop_thumbnail", job_id)

    async def due_thumbnails(
        self, limit: int, *, attempts: int, age_s: float, retry_in_s: float
    ) -> list[str]:
        rows = await self._write(
            "due_thumbnails",
            repeatable=False,
            limit=limit,
            attempts=attempts,
            age=seconds(age_s),
            retry_in=seconds(retry_in_s),
        )
        return [str(each) for each in rows]

    async def note_render_time(self, fal_model: str, duration_s: int, took_s: int) -> None:
        await self._write(
            "note_render_time",
            repeatable=False,
            render_time=_render_time_record(fal_model, duration_s),
            seconds=took_s,
            keep=RECENT,
        )

    async def render_times(self, fal_model: str, duration_s: int) -> list[int]:
        """The latest first; empty where there are none yet."""
        recent = await self._read(
            "read_render_times", render_time=_render_time_record(fal_model, duration_s)
        )
        return list(recent or [])


def _render_time_record(fal_model: str, duration_s: int) -> RecordID:
    return RecordID("render_time", [fal_model, duration_s])
