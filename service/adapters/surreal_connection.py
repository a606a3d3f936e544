"""One connection to SurrealDB: opened on first use, signed in, thrown away whole when it fails.

See surreal.py, which pools them.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from surrealdb import AsyncSurreal

from service.adapters.identity import RENEW_AFTER_S, Identity
from service.adapters.surreal_codec import query_raw
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

log = logging.getLogger(__name__)

Params = Mapping[str, Any]

CALL_TIMEOUT_S: Final = 8.0  # of a server; fal waits 15 s for the answer that waits for this
CLOSE_TIMEOUT_S: Final = 2.0  # a dead peer must not hold up a restart
CONFLICT_TRIES: Final = 30  # 16 writers on one row conflict about half the time: 2^-30 is never
MAX_PAUSE_S: Final = 1.0
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


class Connection:
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

    @property
    def _is_good(self) -> bool:
        return self.alive and time.monotonic() < self._renew_at

    async def ensure(self) -> Any:
        if self._is_good:  # each call comes by here
            return self._sdk
        async with self._opening:
            if self._is_good:
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
        task = asyncio.ensure_future(query_raw(sdk, statement, params))
        task.add_done_callback(observe)
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
            await asyncio.sleep(pause_s(0.002, tries))
        else:
            return
    await sdk.use(settings.namespace, settings.database)


def _say_denied(error: NotPermitted) -> None:
    """Nobody but the database's owner can mend this."""
    log.error("the database denies what the service needs", extra={"reason": str(error)})


def pause_s(first_s: float, tries: int) -> float:
    """Full jitter: competitors that met once should not meet again."""
    return random.uniform(0, min(MAX_PAUSE_S, first_s * 2**tries))  # noqa: S311 - no secret


async def _close(sdk: Any) -> None:
    """Close for good. A failing close leaves nothing to save, and must not mask its cause."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await sdk.close()


def observe(task: "asyncio.Future[Any]") -> None:
    """Look at an abandoned call's end, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()
