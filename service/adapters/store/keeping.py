"""How long things are kept; see ports.keeping."""

from collections.abc import Sequence
from datetime import datetime

from surrealdb import RecordID

from service.adapters.rows import job_record, seconds
from service.adapters.store.base import QueryStore
from service.ports.keeping import StartImage


class KeepingStore(QueryStore):
    async def begin_chore(self, name: str, *, apart_s: float) -> bool:
        # Asked again after a lost answer, it would find that it is not due: the turn is lost.
        began = await self._write(
            "begin_chore",
            repeatable=False,
            chore=RecordID("chore", name),
            apart=seconds(apart_s),
        )
        return bool(began)

    async def note_sweep(self, *, gap_s: float) -> datetime:
        since: datetime = await self._write(
            "note_sweep", chore=RecordID("chore", "sweep"), gap=seconds(gap_s)
        )
        return since

    async def empty_handled(self, limit: int, *, age_s: float) -> int:
        return int(await self._write("empty_handled", limit=limit, age=seconds(age_s), nothing=b""))

    async def empty_parked(self, limit: int, *, age_s: float) -> int:
        return int(await self._write("empty_parked", limit=limit, age=seconds(age_s), nothing=b""))

    async def old_start_images(
        self, limit: int, *, age_s: float, skip: int = 0
    ) -> list[StartImage]:
        rows = await self._read("old_start_images", limit=limit, age=seconds(age_s), skip=skip)
        return [StartImage(str(row["id"].id), row["start_image_key"]) for row in rows]

    async def note_images_removed(self, job_ids: Sequence[str]) -> int:
        jobs = [job_record(each) for each in job_ids]
        return int(await self._write("note_images_removed", jobs=jobs))

    async def longest_parked_s(self) -> float | None:
        waited = await self._read("longest_parked")
        return None if waited is None else float(waited)
