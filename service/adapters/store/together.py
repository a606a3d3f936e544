"""Facts that arrive together are written together, in one commit that the disk is waited for once.

Whatever is wrong with one of them, it is told so alone, and the others are kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from service.adapters.store.batches import Asked, Batches
from service.adapters.surreal_errors import AlreadyExists
from service.domain.errors import ServiceError, Transient

AT_MOST_BYTES: Final = 2 * 1024 * 1024  # in a commit

Row = Mapping[str, Any]
Write = Callable[[Sequence[Row]], Awaitable[object]]
Find = Callable[[Sequence[Row]], Awaitable[Collection[str]]]
Told = asyncio.Future[bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A row that is written once, whoever brings it: `id` is derived from what it says."""

    id: str
    row: Row
    bytes: int


@dataclass(slots=True)
class _Batch:
    """Facts by their ids, and who waits for each."""

    facts: dict[str, Fact] = field(default_factory=dict)
    waiting: dict[str, list[Told]] = field(default_factory=dict)

    def add(self, fact: Fact, *waiting: Told) -> None:
        self.facts[fact.id] = fact
        self.waiting.setdefault(fact.id, []).extend(waiting)

    @property
    def rows(self) -> list[Row]:
        return [each.row for each in self.facts.values()]

    def only(self, ids: Iterable[str]) -> "_Batch":
        part = _Batch()
        for each in ids:
            part.add(self.facts[each], *self.waiting[each])
        return part

    def tell(self, *, created: bool) -> None:
        """The first to bring a fact has created it, if anybody here has."""
        for waiting in self.waiting.values():
            for at, told in enumerate(waiting):
                if not told.done():
                    told.set_result(created and at == 0)

    def fail(self, error: Exception) -> None:
        for waiting in self.waiting.values():
            for told in waiting:
                if not told.done():
                    told.set_exception(error)


class Together:
    """Records facts by `write`, which writes all the rows that it is given, or none.

    `write` raises AlreadyExists where one of them was there before; `find` tells which were.
    """

    def __init__(self, write: Write, find: Find) -> None:
        self._write = write
        self._find = find
        self._batches: Batches[Fact, bool] = Batches(
            self._settle_all, weigh=lambda fact: fact.bytes, heavy=AT_MOST_BYTES
        )

    async def record(self, fact: Fact) -> bool:
        """Return once it is written; False if it was there before. Raises what `write` raises."""
        return await self._batches.ask(fact)

    async def _settle_all(self, asked: Asked[Fact, bool]) -> None:
        batch = _Batch()
        for fact, told in asked:
            batch.add(fact, told)
        await self._settle(batch)

    async def _settle(self, batch: _Batch) -> None:
        """Write a batch, or its parts by themselves, until everybody has been told."""
        try:
            parts = await self._written(batch)
        except ServiceError as error:
            batch.fail(error)
            return
        for each in parts:
            await self._settle(each)

    async def _written(self, batch: _Batch) -> list[_Batch]:
        """Write a batch and tell. What cannot be written together: the parts to try next."""
        is_one = len(batch.facts) == 1
        try:
            await self._write(batch.rows)
        except Transient:  # says nothing about any of them
            raise
        except AlreadyExists:
            had = batch.facts.keys() if is_one else set(await self._find(batch.rows))
            batch.only(had).tell(created=False)
            if had:
                new = [each for each in batch.facts if each not in had]
                return [batch.only(new)] if new else []
        except ServiceError:
            if is_one:
                raise
        else:
            batch.tell(created=True)
            return []
        # It is about one of them, and the others are to be kept.
        return [batch.only([each]) for each in batch.facts]
