"""A web process sends itself the canary now and then; what it finds counts for readiness.

Rule. A wrong answer (a redirect, a changed body, a stranger's or a proxy's answer, 413) that is
still there when the canary is sent again makes the process not ready. No answer, a timeout, 502,
503 and 504 prove nothing: the process stays as ready as it is without the canary, and an earlier
wrong answer counts no longer. So does the answer of another version, or with another seal key,
which a rollout has for a while.

Why nothing can be locked up. A process that is not ready gets no traffic, so some proxies answer
its own canary wrongly just because of that (404 where no process behind them is ready). Hence the
second look, before which the process has been ready for as long as a proxy needs to learn it; and
hence a wrong answer counts for HOLD_S at most: then the process is ready again for such a while,
and only an answer that is wrong even then counts once more.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from service.doctor.canary import fly, small_loads
from service.doctor.canary_answers import way_of
from service.domain.canary import Finding, Outcome
from service.ports.signals import Count, Level, Signals
from service.settings import Settings

log = logging.getLogger(__name__)

SETTLE_S: Final = 30.0  # a proxy learns within this time which processes are ready
RETRY_S: Final = 60.0  # while it does not pass
HOLD_S: Final = 300.0

Send = Callable[[], Awaitable[Finding]]


class Board(Protocol):
    """Where readiness reads what is known of the webhook."""

    def webhook(self, found: str, *, good: bool) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often the canary is sent. Whoever wants it often wants all of it often."""

    interval_s: float
    hold_s: float = HOLD_S

    @property
    def settle_s(self) -> float:
        return min(SETTLE_S, self.interval_s)

    @property
    def retry_s(self) -> float:
        return min(RETRY_S, self.interval_s)


class Suspicion:
    """How long the answers have been wrong, and whether that counts."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._suspected = False
        self._held_at: float | None = None

    @property
    def counts(self) -> bool:
        return self._held_at is not None

    def hear(self, outcome: Outcome, now_s: float) -> float:
        """Take in what a flight found; how many seconds until the next one."""
        if outcome is not Outcome.WRONG:
            self._suspected, self._held_at = False, None
            return self._pace.interval_s if outcome is Outcome.PASSED else self._pace.retry_s
        if not self._suspected:
            self._suspected = True
            return self._pace.settle_s
        if self._held_at is None:  # ready all the while, and wrong again
            self._held_at = now_s
        elif now_s >= self._held_at + self._pace.hold_s:
            self._held_at = None  # still suspected: wrong once more, it counts once more
            return self._pace.settle_s
        return self._pace.retry_s


@asynccontextmanager
async def watching_webhook(
    settings: Settings, board: Board, signals: Signals, started: asyncio.Event
) -> AsyncIterator[None]:
    """The small canary of a process with these settings, while the body runs."""
    if not settings.webhook_canary_s:
        yield
        return
    way, pace = way_of(settings), Pace(interval_s=settings.webhook_canary_s)
    async with running_canary(lambda: fly(way, small_loads()), board, signals, pace, started):
        yield


@asynccontextmanager
async def running_canary(
    send: Send, board: Board, signals: Signals, pace: Pace, started: asyncio.Event
) -> AsyncIterator[None]:
    """Send the canary again and again while the body runs, once `started` is set."""
    task = asyncio.create_task(_watch(send, board, signals, pace, started))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(
    send: Send, board: Board, signals: Signals, pace: Pace, started: asyncio.Event
) -> None:
    await started.wait()
    suspicion, said = Suspicion(pace), ""
    while True:
        try:
            finding = await send()
        except Exception:  # a bug must not end the looking for good
            log.exception("the canary was not sent")
            finding = Finding(outcome=Outcome.UNKNOWN, seen="the canary was not sent")
        wait_s = suspicion.hear(finding.outcome, time.monotonic())
        board.webhook(_words(finding, suspicion), good=not suspicion.counts)
        signals.count(Count.CANARY, outcome=finding.outcome.value)
        signals.level(Level.CANARY_OK, finding.outcome is Outcome.PASSED)
        if (change := _change(finding, suspicion)) != said:
            said = change
            _tell(finding, suspicion)
        # Jitter keeps several processes from sending in step; never sooner than it has to be.
        await asyncio.sleep(wait_s * random.uniform(1.0, 1.4))  # noqa: S311


def _words(finding: Finding, suspicion: Suspicion) -> str:
    match finding.outcome:
        case Outcome.PASSED:
            return "ok"
        case Outcome.UNKNOWN:
            return f"not known: {finding.seen}"
        case Outcome.WRONG:
            return finding.seen if suspicion.counts else f"suspected: {finding.seen}"


def _change(finding: Finding, suspicion: Suspicion) -> str:
    """What is worth a line in the log when it is not what was there before."""
    passed = finding.outcome is Outcome.PASSED
    return "passed" if passed else f"{finding.seen} {suspicion.counts}"


def _tell(finding: Finding, suspicion: Suspicion) -> None:
    facts = {"seen": finding.seen, "fix": finding.fix}
    match finding.outcome:
        case Outcome.PASSED:
            log.info("the webhook can be reached", extra={"seen": finding.seen})
        case Outcome.UNKNOWN:
            log.warning("nothing is known of the way to the webhook", extra=facts)
        case Outcome.WRONG:
            level = logging.ERROR if suspicion.counts else logging.WARNING
            log.log(level, "the webhook cannot be reached", extra=facts)
