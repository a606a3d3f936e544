"""Background tasks that end with their owner, and whose failures do not go unseen."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """Tasks that may be started from any request. A task group would need one parent task."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._failures: list[Exception] = []

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """End all of them; returns when they have. A repeat finds nothing."""
        while self._running:
            running = list(self._running)
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    async def close(self) -> None:
        """End all of them. Raises an ExceptionGroup of what any of them failed with."""
        await self.cancel()
        if self._failures:
            raise ExceptionGroup("tasks of the sandbox failed", self._failures)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._failures.append(error)
