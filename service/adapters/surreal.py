"""SurrealDB behind one door: a pool, deadlines, reconnects, error classes, bounded retries.

Every call is ONE statement (a `{ …; RETURN x }` block where several are needed), so that it is
one transaction with one result on every engine. Only `query_raw` of the SDK is used, so that
another SDK version can take its place. The reasons behind each guard were measured:

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
import logging
import math
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from surrealdb import AsyncSurreal

from service.adapters.identity import RENEW_AFTER_S, Identity
from service.adapters.surreal_errors import (
    CannotWrite,
    Conflict,
    NotPermitted,
    Rejected,
    SessionLost,
    Unavailable,
    classify,
    first_line,
    unpack,
)
from service.domain.errors import ServiceError, Transient
from service.ports import SILENT, Signals
from service.ports.signals import Timing

log = logging.getLogger(__name__)

Params = Mapping[str, Any]

CALL_TIMEOUT_S: Final = 8.0  # of a server; fal waits 15 s for the answer that waits for this
CLOSE_TIMEOUT_S: Final = 2.0  # a dead peer must not hold up a restart
CONNECTIONS: Final = 4  # one socket keeps about one server core busy; 4-8 are advised
MAX_IN_FLIGHT: Final = 64  # per process; more only queues inside the server
CONFLICT_TRIES: Final = 30  # 16 writers on one row conflict about half the time: 2^-30 is never
UNAVAILABLE_TRIES: Final = 4  # with backoff under a second: a longer absence is the caller's
MAX_PAUSE_S: Final = 1.0
ENGINE_REST_S: Final = 0.2  # 0 of 40 exits aborted with a quarter of this, up to 7 in 75 without
REOPEN_PAUSE_S: Final = 0.5  # after a failed opening everybody fails at once, for this long


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseSettings:
    """Where the database is. An embedded engine (surrealkv://, mem://) has no sign-in.

    With an identity the service signs in as that, else as the user.
    """

    url: str
    namespace: str
    database: str
    username: str | None = None
    password: str | None = None
    identity: Identity | None = None
    call_timeout_s: float = CALL_TIMEOUT_S

    @property
    def embedded(self) -> bool:
        return not self.url.startswith(("ws://", "wss://"))


class Database:
    """A pool of connections. `calls` counts round trips, for tests and measurements."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self.settings = settings
        self.signals: Signals = SILENT
        self.calls = 0
        size = 1 if settings.embedded else CONNECTIONS
        self._connections = [_Connection(settings) for _ in range(size)]
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
            await asyncio.sleep(_pause_s(0.002, tries))

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
            await asyncio.sleep(_pause_s(pause, tries))

    async def _alone(self, writer: asyncio.Lock, statement: str, params: Params) -> list[Any]:
        """One write at a time. A caller that is cancelled leaves the write to finish alone."""

        async def write() -> list[Any]:
            async with writer:
                return await self._pick().call(statement, params)

        task = asyncio.create_task(write())
        task.add_done_callback(_observe)
        return await asyncio.shield(task)

    def _pick(self) -> "_Connection":
        """The least busy open connection; another is opened only when those are busy."""
        alive = [each for each in self._connections if each.alive]
        idle = [each for each in self._connections if not each.alive]
        best = min(alive, key=lambda each: each.in_flight, default=None)
        if best is None or (idle and best.in_flight >= MAX_IN_FLIGHT // CONNECTIONS // 2):
            return random.choice(idle)  # noqa: S311 - spreading load
        return best


class _Connection:
    """One connection: opened on first use, thrown away whole after any failure."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._sdk: Any = None
        self._opening = asyncio.Lock()
        self._failed: tuple[float, Transient] | None = None
        self._renew_at = math.inf  # until a session that ends by itself has begun
        self._closing: set[asyncio.Task[None]] = set()
        self.in_flight = 0

    @property
    def alive(self) -> bool:
        if self._sdk is None:
            return False
        reader = getattr(self._sdk, "recv_task", None)
        return reader is None or not reader.done()

    async def ensure(self) -> Any:
        async with self._opening:
            if self.alive and time.monotonic() < self._renew_at:
                return self._sdk
            if self._failed and time.monotonic() < self._failed[0] + REOPEN_PAUSE_S:
                raise Unavailable(str(self._failed[1]))  # those who waited share the failure
            try:
                if self.alive:
                    await asyncio.shield(self._renew())
                else:
                    await self.drop()
                    self._sdk = await self._open()
            except Transient as error:
                self._failed = time.monotonic(), error
                raise
            return self._sdk

    async def _open(self) -> Any:
        settings = self._settings
        sdk: Any = None
        try:
            async with asyncio.timeout(settings.call_timeout_s):
                sdk = AsyncSurreal(settings.url)
                await sdk.connect()
                if settings.identity is not None:
                    await settings.identity.sign_in(sdk)
                    self._renew_at = time.monotonic() + RENEW_AFTER_S
                elif settings.username is not None:
                    await sdk.signin(
                        {"username": settings.username, "password": settings.password or ""}
                    )
                await _select(sdk, settings)
        except BaseException as error:
            if sdk is not None:  # also when cancelled: it may hold the directory's lock
                await asyncio.shield(_close(sdk))
            if isinstance(error, Exception):
                reason = f"cannot open the database: {first_line(error)}"
                raise Unavailable(reason) from error
            raise
        return sdk

    async def _renew(self) -> None:
        """Sign in again before the session ends. Raises NotPermitted and Unavailable."""
        sdk, identity = self._sdk, self._settings.identity
        assert identity is not None, "only a session of an identity ends by itself"
        try:
            async with asyncio.timeout(self._settings.call_timeout_s):
                await identity.sign_in(sdk)
                await identity.prove(sdk)
        except NotPermitted as error:
            _say_denied(error)
            raise
        except Exception as error:  # the SDK's errors have no common base
            self._abandon(sdk)
            raise Unavailable(f"cannot sign in again: {first_line(error)}") from error
        self._renew_at = time.monotonic() + RENEW_AFTER_S

    async def drop(self) -> None:
        sdk, self._sdk = self._sdk, None
        if sdk is not None:
            await _close(sdk)

    async def close(self) -> None:
        await self.drop()
        await asyncio.gather(*self._closing)

    async def call(
        self, statement: str, params: Params, timeout_s: float | None = None
    ) -> list[Any]:
        if timeout_s is not None and timeout_s <= 0:
            raise Unavailable("the database answers nobody in time")
        sdk = await self.ensure()
        if self._settings.embedded:
            timeout_s = None  # there is no network to lose an answer, and no second engine
        task = asyncio.ensure_future(sdk.query_raw(statement, dict(params)))
        task.add_done_callback(_observe)
        self.in_flight += 1
        try:
            await asyncio.wait({task}, timeout=timeout_s)
        finally:
            self.in_flight -= 1
        if not task.done():
            self._abandon(sdk)
            raise Unavailable("the database did not answer in time")
        return await self._result(sdk, task)

    async def _result(self, sdk: Any, task: "asyncio.Future[Any]") -> list[Any]:
        """What a call came to; the connection is thrown away where it is no good after that."""
        try:
            return unpack(task.result())
        except SessionLost:
            await self._discard(sdk)
            raise
        except NotPermitted as error:
            _say_denied(error)
            raise
        except CannotWrite:
            if self._settings.embedded:
                await self._discard(sdk)
            raise
        except ServiceError:
            raise
        except Exception as error:  # the SDK's transport errors have no common base
            raise await self._failure(sdk, error) from error

    async def _failure(self, sdk: Any, error: Exception) -> ServiceError:
        """What an error of the SDK itself means."""
        if isinstance(error, BufferError | TypeError | ValueError):
            return Rejected(f"a parameter cannot be encoded: {error}")
        if self._settings.embedded:
            if self._sdk is not sdk:  # another call has thrown this engine away meanwhile
                return Unavailable(first_line(error))
            return classify(first_line(error))
        await self._discard(sdk)
        return Unavailable(f"the connection broke: {first_line(error)}")

    def _abandon(self, sdk: Any) -> None:
        """Discard a silent connection without waiting for it to close as well."""
        if self._sdk is sdk:
            self._sdk = None
        closing = asyncio.create_task(_close(sdk))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _discard(self, sdk: Any) -> None:
        """Throw away the connection a call failed on, unless that has happened already."""
        if self._sdk is sdk:
            await self.drop()


async def _select(sdk: Any, settings: DatabaseSettings) -> None:
    """Select the database; the first to name a new one creates it, others may meet that."""
    for tries in range(1, CONFLICT_TRIES):
        try:
            await sdk.use(settings.namespace, settings.database)
        except Exception as error:  # the SDK's errors have no common base
            if not isinstance(classify(first_line(error)), Conflict):
                raise
            await asyncio.sleep(_pause_s(0.002, tries))
        else:
            return
    await sdk.use(settings.namespace, settings.database)


def _say_denied(error: NotPermitted) -> None:
    """Nobody but the database's owner can mend this."""
    log.error("the database denies what the service needs", extra={"reason": str(error)})


def _pause_s(first_s: float, tries: int) -> float:
    """Full jitter: competitors that met once should not meet again."""
    return random.uniform(0, min(MAX_PAUSE_S, first_s * 2**tries))  # noqa: S311 - no secret


async def _close(sdk: Any) -> None:
    """Close for good. A failing close leaves nothing to save, and must not mask its cause."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await sdk.close()


def _observe(task: "asyncio.Future[Any]") -> None:
    """Look at an abandoned call's end, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()
