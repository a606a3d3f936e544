"""SurrealDB behind one door: a pool, deadlines, reconnects, error classes, bounded retries.

Every call is ONE statement (a `{ …; RETURN x }` block where several are needed), so that it is
one transaction with one result on every engine. Of the SDK only the calls are used that open a
connection and send one message (surreal_codec.py), so that another version can take its place.
The reasons behind each guard were measured:

* mem:// loses updates when writes overlap, on every released version, so writes to an embedded
  engine go through one lock; the embedded engine belongs to one process anyway.
* an SDK call that is cancelled can race with the SDK's reader, so calls are never cancelled:
  they run as tasks of their own and a late one is abandoned together with its connection.
* an embedded engine whose disk was full goes on behind the record that it wrote in half, and what
  it acknowledges from then on is gone when it is next opened: it is closed at once, and opened
  anew, which mends its log and needs room for that, before anything else is written.
* a reopened socket is signed out and has no database selected, so a connection that failed is
  thrown away and opened anew, never reused.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any, Final

from service.adapters.surreal_connection import (
    CONFLICT_TRIES,
    Connection,
    DatabaseSettings,
    Params,
    observe,
    pause_s,
)
from service.adapters.surreal_errors import Conflict, SessionLost, Unavailable
from service.ports import SILENT, Signals
from service.ports.signals import Timing

__all__ = ["Database", "DatabaseSettings"]

CONNECTIONS: Final = 4  # one socket keeps about one server core busy; 4-8 are advised
MAX_IN_FLIGHT: Final = 64  # per process; more only queues inside the server
UNAVAILABLE_TRIES: Final = 4  # with backoff under a second: a longer absence is the caller's
ENGINE_REST_S: Final = 0.2  # 0 of 40 exits aborted with a quarter of this, up to 7 in 75 without


class Database:
    """A pool of connections. `calls` counts round trips, for tests and measurements."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self.settings = settings
        self.signals: Signals = SILENT
        self.calls = 0
        size = 1 if settings.embedded else CONNECTIONS
        self._connections = [Connection(settings) for _ in range(size)]
        self._gate = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._writer = asyncio.Lock() if settings.embedded else None

    async def open(self) -> None:
        """Open one connection now, so that a wrong setting shows at start. Raises Unavailable."""
        await self._connections[0].ensure()

    async def read(self, statement: str, **params: Any) -> Any:
        """Run a statement that changes nothing. Raises Transient or Rejected."""
        with self._timed("read"):
            return await self._retried(statement, params, None, repeatable=True)

    async def write(self, statement: str, *, repeatable: bool = True, **params: Any) -> Any:
        """Run a statement that changes something, all of it or nothing.

        Conflicts are always retried: nothing was applied. A lost answer is retried only if the
        statement is `repeatable`, that is, if its second run answers as usefully as its first.
        Raises Transient, AlreadyExists, Thrown or Rejected.
        """
        with self._timed("write"):
            return await self._retried(statement, params, self._writer, repeatable=repeatable)

    async def script(self, text: str) -> list[Any]:
        """Run statements that take as long as they take and can all run twice: migrations.

        Each is its own transaction; every result is returned. Raises the first failure, after
        all have run.
        """
        tries = 0
        while True:
            tries += 1
            try:
                if self._writer is None:
                    return await self._pick().call(text, {}, timeout_s=None)
                return await self._alone(self._writer, text, {})
            except Conflict:  # another process migrates too
                if tries >= CONFLICT_TRIES:
                    raise
            await asyncio.sleep(pause_s(0.002, tries))

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()
        if self.settings.embedded:
            # The engine's threads wind down unseen; a process that exits before them aborts.
            await asyncio.sleep(ENGINE_REST_S)

    @contextlib.contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.signals.observe(Timing.DATABASE, time.monotonic() - started, kind=kind)

    async def _retried(
        self, statement: str, params: Params, writer: asyncio.Lock | None, *, repeatable: bool
    ) -> Any:
        tries = 0
        give_up_at = time.monotonic() + self.settings.call_timeout_s
        while True:
            tries += 1
            try:
                async with self._gate:
                    self.calls += 1
                    if writer is not None:
                        return (await self._alone(writer, statement, params))[-1]
                    # Those who waited for the others' silence have waited long enough.
                    left_s = max(0.0, give_up_at - time.monotonic())
                    return (await self._pick().call(statement, params, timeout_s=left_s))[-1]
            except Conflict:
                if tries >= CONFLICT_TRIES:
                    raise
                pause = 0.002
            except (Unavailable, SessionLost) as error:
                safe = repeatable or isinstance(error, SessionLost)
                late = tries >= UNAVAILABLE_TRIES or time.monotonic() > give_up_at
                if late or not safe:
                    raise
                pause = 0.05
            await asyncio.sleep(pause_s(pause, tries))

    async def _alone(self, writer: asyncio.Lock, statement: str, params: Params) -> list[Any]:
        """One write at a time. A caller that is cancelled leaves the write to finish alone."""

        async def write() -> list[Any]:
            async with writer:
                return await self._pick().call(statement, params)

        task = asyncio.create_task(write())
        task.add_done_callback(observe)
        return await asyncio.shield(task)

    def _pick(self) -> Connection:
        """The least busy open connection; another is opened only when those are busy."""
        alive = [each for each in self._connections if each.alive]
        idle = [each for each in self._connections if not each.alive]
        best = min(alive, key=lambda each: each.in_flight, default=None)
        if best is None or (idle and best.in_flight >= MAX_IN_FLIGHT // CONNECTIONS // 2):
            return random.choice(idle)  # noqa: S311 - spreading load
        return best
