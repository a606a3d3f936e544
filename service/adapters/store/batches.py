"""What is asked for while calls are under way goes together in the next: one call for many.

A call costs the database several times what a row in it does. Nobody waits for company: what comes
while fewer than AT_ONCE calls are under way is called for at once. A call always begins after all
that it answers was asked for, so whoever has written something reads it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Final, Generic, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 2  # calls
AT_MOST: Final = 32  # items in a call

Asked: TypeAlias = list[tuple[T, asyncio.Future[R]]]


class Batches(Generic[T, R]):
    """Gathers items for `act`, which sets the result of each, or raises: then the rest fails so."""

    def __init__(
        self,
        act: Callable[[Asked[T, R]], Awaitable[None]],
        *,
        weigh: Callable[[T], int] = lambda _: 0,
        heavy: int = 1,
    ) -> None:
        """`heavy`: a call that weighs so much takes nothing more."""
        self._act = act
        self._weigh = weigh
        self._heavy = heavy
        self._waiting: deque[tuple[T, asyncio.Future[R], Context]] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    async def ask(self, item: T) -> R:
        """What `act` says of this item. Raises what it raises."""
        told: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, told, copy_context()))
        self._begin()
        return await told

    def _begin(self) -> None:
        """Begin a call if one may, in the context of whoever has waited longest."""
        if self._waiting and len(self._calls) < AT_ONCE:
            call = asyncio.get_running_loop().create_task(
                self._answer(), context=self._waiting[0][2]
            )
            self._calls.add(call)
            call.add_done_callback(self._end)

    def _end(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._begin()

    def _next(self) -> Asked[T, R]:
        batch: Asked[T, R] = []
        weight = 0
        while self._waiting and len(batch) < AT_MOST and weight < self._heavy:
            item, told, _ = self._waiting.popleft()
            batch.append((item, told))
            weight += self._weigh(item)
        return batch

    async def _answer(self) -> None:
        batch = self._next()
        if not batch:  # a call that began at the same time has taken them all
            return
        try:
            await self._act(batch)
        except Exception as error:  # noqa: BLE001 - whoever waits is to hear of it
            for _, told in batch:
                if not told.done():
                    told.set_exception(error)
