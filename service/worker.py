"""The worker inside each process: does what it is nudged to do, bounded, drained on stop.

Nudges only save time. Every row carries its own due time, so a nudge that is dropped because
the queue is full, or lost with the process, costs a wait until the next sweep and nothing else.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from service.domain.errors import Transient
from service.flows.afterwards import afterwards
from service.flows.audit_runs import audit_if_due
from service.flows.cancel import stop
from service.flows.delete import purge
from service.flows.finalise import finalise
from service.flows.receive import handle
from service.flows.reconcile import sweep_once
from service.flows.retention import keep_once
from service.flows.submit import send
from service.ports import AuditStore, Services
from service.ports.audits import AuditRuns
from service.ports.signals import Count

log = logging.getLogger(__name__)

QUEUE_LIMIT: Final = 1_000  # nudges; beyond it the sweep is the better scheduler
DELIVERY_WORKERS: Final = 8  # a few calls to the database each
# Between two deliveries that are handled in a burst: so many times as long as the first of them
# took. Handling costs the database about as much as recording, and fal's calls wait for recording.
BREATHS: Final = 2
MAX_BREATH_S: Final = 0.1
LIGHT_WORKERS: Final = 8  # submissions and the like: one call each, mostly waiting
HEAVY_WORKERS: Final = 4  # transfers: each holds up to three parts of 5 MiB
IDLE_WORKERS: Final = 1  # thumbnails: a decoder each, and nobody waits for one
# A sweep that has moved nothing by then hangs: an item takes 120 s at most, four tries of 30 s.
STUCK_INTERVALS: Final = 10
STUCK_AFTER_S: Final = 180.0
AUDIT_LOOKS: Final = 10  # per interval, at whether an audit is due
RETENTION_LOOK_S: Final = 600.0  # at whether the hour is over, which one small write tells
DRAIN_S: Final = 10.0  # a stop waits this long for light work; transfers give back their lease

# What to do for a name (a job's or an inbox entry's), as the holder this process is.
Action = Callable[[Services, str, str], Coroutine[Any, Any, object]]
Work = tuple[str, str, Action]  # what kind of name it is, the name, what to do
Queue = asyncio.Queue[Work]


class Nudges:
    """The queues between those who learn of work and the worker; implements ports.Nudge."""

    def __init__(self) -> None:
        self.deliveries: Queue = asyncio.Queue(QUEUE_LIMIT)
        self.light: Queue = asyncio.Queue(QUEUE_LIMIT)
        self.heavy: Queue = asyncio.Queue(QUEUE_LIMIT)
        self.idle: Queue = asyncio.Queue(QUEUE_LIMIT)
        self._arriving = 0
        self._turn = asyncio.Lock()

    @contextmanager
    def arrival(self) -> Iterator[None]:
        """A delivery is being recorded, and fal's call waits for that."""
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    def submission(self, job_id: str) -> None:
        _put(self.light, "job_id", job_id, lambda services, name, _: send(services, name))

    def delivery(self, entry_id: str) -> None:
        _put(self.deliveries, "entry_id", entry_id, self._handle)

    def finalisation(self, job_id: str) -> None:
        _put(self.heavy, "job_id", job_id, finalise)

    def cancellation(self, job_id: str) -> None:
        _put(self.light, "job_id", job_id, lambda services, name, _: stop(services, name))

    def purge(self, job_id: str) -> None:
        _put(self.light, "job_id", job_id, lambda services, name, _: purge(services, name))

    def afterwards(self, job_id: str) -> None:
        _put(self.idle, "job_id", job_id, lambda services, name, _: afterwards(services, name))

    async def _handle(self, services: Services, entry_id: str, _: str) -> None:
        """One at a time while more arrive, a third of the time: in a burst recording is first."""
        if not self._arriving:
            await handle(services, entry_id)
            return
        async with self._turn:
            began = time.monotonic()
            await handle(services, entry_id)
            if self._arriving:
                took_s = time.monotonic() - began
                await asyncio.sleep(min(BREATHS * took_s, MAX_BREATH_S))

    async def quiet(self) -> None:
        """Return once everything nudged so far is done: light work nudges heavy, that idle."""
        await self.deliveries.join()
        await self.light.join()
        await self.heavy.join()
        await self.idle.join()


def _put(queue: Queue, kind: str, name: str, act: Action) -> None:
    try:
        queue.put_nowait((kind, name, act))
    except asyncio.QueueFull:
        log.warning("nudge dropped: the sweep will find it", extra={kind: name})


@asynccontextmanager
async def running_worker(services: Services, nudges: Nudges, holder: str) -> AsyncIterator[None]:
    """Work on nudges while the body runs; on leaving, finish light work and give back leases.

    What is idle work is dropped: a thumbnail that is half made is begun anew elsewhere.
    """
    crews = (
        (nudges.deliveries, DELIVERY_WORKERS),
        (nudges.light, LIGHT_WORKERS),
        (nudges.heavy, HEAVY_WORKERS),
        (nudges.idle, IDLE_WORKERS),
    )
    deliveries, light, heavy, idle = (
        [asyncio.create_task(_work(services, queue, holder)) for _ in range(count)]
        for queue, count in crews
    )
    try:
        yield
    finally:
        await _end([*heavy, *idle])
        try:
            async with asyncio.timeout(DRAIN_S):
                await nudges.deliveries.join()
                await nudges.light.join()
        except TimeoutError:
            log.warning("stopped with work undone: the sweep of another process finds it")
        await _end([*deliveries, *light])


class Pulse:
    """When the sweep loop last turned: standing still, it helps nobody, and nobody notices."""

    def __init__(self, interval_s: float) -> None:
        self.patience_s = STUCK_INTERVALS * interval_s + STUCK_AFTER_S
        self._beat_at = time.monotonic()

    def beat(self) -> None:
        self._beat_at = time.monotonic()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._beat_at


@asynccontextmanager
async def running_reconciler(
    services: Services, interval_s: float, pulse: Pulse | None = None
) -> AsyncIterator[None]:
    """Sweep again and again while the body runs."""
    task = asyncio.create_task(reconcile_forever(services, interval_s, pulse))
    try:
        yield
    finally:
        await _end([task])


@asynccontextmanager
async def running_audits(
    runs: AuditRuns, facts: AuditStore, holder: str, interval_s: float
) -> AsyncIterator[None]:
    """Audit every so often while the body runs, unless another process does; 0: never."""
    task = asyncio.create_task(_audit_forever(runs, facts, holder, interval_s))
    try:
        yield
    finally:
        await _end([task])


async def _audit_forever(
    runs: AuditRuns, facts: AuditStore, holder: str, interval_s: float
) -> None:
    while interval_s:
        try:
            await audit_if_due(runs, facts, holder, apart_s=interval_s)
        except Transient as error:
            log.warning("audit put off", extra={"reason": str(error)})
        except Exception:
            log.exception("audit broke")
        # A claim is one small write, and a process that died leaves its turn to the others.
        pause_s = interval_s / AUDIT_LOOKS
        await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311


@asynccontextmanager
async def running_retention(services: Services) -> AsyncIterator[None]:
    """Let go of what is old while the body runs, unless another process does."""
    task = asyncio.create_task(_keep_forever(services))
    try:
        yield
    finally:
        await _end([task])


async def _keep_forever(services: Services) -> None:
    while True:
        try:
            await keep_once(services)
        except Transient as error:
            log.warning("retention put off", extra={"reason": str(error)})
        except Exception:
            log.exception("retention broke")
        await asyncio.sleep(RETENTION_LOOK_S * random.uniform(0.8, 1.2))  # noqa: S311


def _unheard() -> None:
    """For a sweep whose progress nobody asks about."""


async def reconcile_forever(
    services: Services, interval_s: float, pulse: Pulse | None = None
) -> None:
    """Sweep, wait a jittered interval, repeat until cancelled. A sweep's failure is logged."""
    while True:
        if pulse is not None:
            pulse.beat()
        try:
            # What a full batch took is put off, so the next one cannot be the same again.
            beat = pulse.beat if pulse is not None else _unheard
            busy = (await sweep_once(services, beat)).full
        except Transient as error:
            log.warning("sweep failed", extra={"reason": str(error)})
            services.signals.count(Count.SWEEP_PROBLEMS)
            busy = False
        except Exception:
            # A bug must not end the sweeping for good: this is everybody's last resort.
            log.exception("sweep failed")
            services.signals.count(Count.SWEEP_PROBLEMS)
            busy = False
        # Jitter keeps several sidecars from asking in step; a full batch means more is due.
        await asyncio.sleep(0 if busy else interval_s * random.uniform(0.8, 1.2))  # noqa: S311


async def _work(services: Services, queue: Queue, holder: str) -> None:
    while True:
        kind, name, act = await queue.get()
        try:
            await act(services, name, holder)
        except Transient as error:
            log.warning("put off", extra={kind: name, "reason": str(error)})
        except Exception:
            # A bug met at one item must not stop the worker; the item's row stays due.
            log.exception("failed", extra={kind: name})
        finally:
            queue.task_done()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
