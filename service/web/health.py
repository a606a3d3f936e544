"""Whether this process lives, and whether it can do its work.

A flood of probes costs what one a second costs: each check's result is kept for a moment, and a
check that has not come back is waited for, never begun a second time. Whatever hangs, the answer
is there within ANSWER_S.

The webhook's check is what the canary found last (service.doctor.watch says when that counts).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.adapters.migrate import find_migrations, pending
from service.domain.errors import ServiceError, Transient
from service.web.answers import Alive, Ready
from service.web.problems import problem
from service.wiring import Runtime

log = logging.getLogger(__name__)

# A delivery that waits longer than this means that nobody is working through the inbox.
INBOX_PATIENCE_S: Final = 300.0
ANSWER_S: Final = 3.0  # under the 5 s after which probes give up
KEPT_S: Final = 1.0
OK: Final = "ok"
NOT_CHECKED: Final = "not checked"


async def live(_: Request) -> Response:
    """GET /health/live: the process answers."""
    answer: Alive = {"status": "ok"}
    return JSONResponse(answer)


async def ready(request: Request) -> Response:
    """GET /health/ready: 200 if this process can do its work, 503 naming what it lacks."""
    health: Health = request.app.state.health
    results = await health.look()
    checks = {name: each.found for name, each in results.items()}
    if not all(each.good for each in results.values()):
        return problem(503, "not_ready", "The service cannot do its work yet.", checks=checks)
    answer: Ready = {"status": "ok", "checks": checks}
    return JSONResponse(answer)


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found, in words, and whether work can be done with that."""

    found: str
    good: bool = False


class Health:
    """The checks of one process, and what the canary said last."""

    def __init__(self, runtime: Runtime) -> None:
        self._checks = {
            "database": _Check(lambda: _database(runtime)),
            "migrations": _Check(lambda: _migrations(runtime)),
            "keySet": _Check(lambda: _keys(runtime)),
            "inbox": _Check(lambda: _inbox(runtime)),
        }
        self._webhook = Result(NOT_CHECKED, good=True)

    async def look(self) -> dict[str, Result]:
        """Every check's result, at most KEPT_S old, within ANSWER_S."""
        results = await asyncio.gather(*(each.result() for each in self._checks.values()))
        return {**dict(zip(self._checks, results, strict=True)), "webhook": self._webhook}

    def webhook(self, found: str, *, good: bool) -> None:
        """What is known of the way to our webhook from now on."""
        self._webhook = Result(found, good)


class _Check:
    """One check, run for all who ask at the same time."""

    def __init__(self, act: Callable[[], Awaitable[Result]]) -> None:
        self._act = act
        self._running: asyncio.Task[Result] | None = None
        self._last: tuple[float, Result] | None = None

    async def result(self) -> Result:
        if self._last is not None and time.monotonic() - self._last[0] < KEPT_S:
            return self._last[1]
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        # Not cancelled when it is late: the calls to the database are to end by themselves.
        running = self._running
        await asyncio.wait({running}, timeout=ANSWER_S)
        return running.result() if running.done() else Result(f"no answer within {ANSWER_S:g} s")

    async def _run(self) -> Result:
        try:
            result = await self._act()
        except Exception:  # a bug: not ready, and the log says why
            log.exception("a readiness check failed")
            result = Result("the check itself failed")
        finally:
            self._running = None
        self._last = time.monotonic(), result
        return result


async def _database(runtime: Runtime) -> Result:
    try:
        await runtime.store.database.read("RETURN true")
    except ServiceError as error:
        return Result(error.code)
    return Result(OK, good=True)


async def _migrations(runtime: Runtime) -> Result:
    try:
        missing = await pending(runtime.store.database, find_migrations())
    except ServiceError as error:
        return Result(error.code)
    return Result(f"missing: {', '.join(missing)}") if missing else Result(OK, good=True)


async def _keys(runtime: Runtime) -> Result:
    try:
        await runtime.fal_keys.current()
    except Transient as error:
        return Result(str(error))
    return Result(OK, good=True)


async def _inbox(runtime: Runtime) -> Result:
    try:
        waited_s = await runtime.services.store.oldest_waiting_delivery_s()
    except ServiceError as error:
        return Result(error.code)
    if waited_s is not None and waited_s > INBOX_PATIENCE_S:
        return Result(f"a delivery has waited {int(waited_s)} s")
    return Result(OK, good=True)
