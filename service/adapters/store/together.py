"""What arrives while something is being written is written together next: one commit for many.

A commit costs the database several times what a row in it does, and its disk is waited for once.
Nobody waits for company: whatever comes while nothing is being written is written at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from service.adapters.surreal_errors import AlreadyExists
from service.domain.errors import ServiceError, Transient

AT_MOST: Final = 32  # rows in a commit
AT_MOST_BYTES: Final = 2 * 1024 * 1024
WRITERS: Final = 2  # commits under way

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
    bytes: int = 0

    def add(self, fact: Fact, *waiting: Told) -> None:
        self.waiting.setdefault(fact.id, []).extend(waiting)
        if fact.id not in self.facts:
            self.facts[fact.id] = fact
            self.bytes += fact.bytes

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
        self._waiting: deque[tuple[Fact, Told]] = deque()
        self._writers = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def record(self, fact: Fact) -> bool:
        """Return once it is written; False if it was there before. Raises what `write` raises."""
        told: Told = asyncio.get_running_loop().create_future()
        self._waiting.append((fact, told))
        if self._writers < WRITERS:
            self._writers += 1
            task = asyncio.create_task(self._write_all())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await told

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._settle(self._next())
        finally:
            self._writers -= 1

    def _next(self) -> _Batch:
        batch = _Batch()
        while self._waiting and len(batch.facts) < AT_MOST and batch.bytes < AT_MOST_BYTES:
            batch.add(*self._waiting.popleft())
        return batch

    async def _settle(self, batch: _Batch) -> None:
        """Write a batch, or its parts by themselves, until everybody has been told."""
        try:
            parts = await self._written(batch)
        except Exception as error:  # noqa: BLE001 - whoever waits is to hear of it
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
