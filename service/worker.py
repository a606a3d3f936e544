"""The worker inside each process: does what it is nudged to do, bounded, drained on stop.

Nudges only save time. Every row carries its own due time, so a nudge that is dropped because
the queue is full, or lost with the process, costs a wait until the next sweep and nothing else.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from service.domain.errors import Transient
from service.flows.afterwards import afterwards
from service.flows.cancel import stop
from service.flows.delete import purge
from service.flows.finalise import finalise
from service.flows.receive import handle
from service.flows.reconcile import sweep_once
from service.flows.submit import send
from service.ports import Services

log = logging.getLogger(__name__)

QUEUE_LIMIT: Final = 1_000  # nudges; beyond it the sweep is the better scheduler
LIGHT_WORKERS: Final = 8  # submissions and deliveries: one call each, mostly waiting
HEAVY_WORKERS: Final = 4  # transfers: each holds up to four parts of 8 MiB
IDLE_WORKERS: Final = 1  # thumbnails: a decoder each, and nobody waits for one
DRAIN_S: Final = 10.0  # a stop waits this long for light work; transfers give back their lease

# What to do for a name (a job's or an inbox entry's), as the holder this process is.
Action = Callable[[Services, str, str], Coroutine[Any, Any, object]]
Queue = asyncio.Queue[tuple[str, Action]]


class Nudges:
    """The queues between those who learn of work and the worker; implements ports.Nudge."""

    def __init__(self) -> None:
        self.light: Queue = asyncio.Queue(QUEUE_LIMIT)
        self.heavy: Queue = asyncio.Queue(QUEUE_LIMIT)
        self.idle: Queue = asyncio.Queue(QUEUE_LIMIT)

    def submission(self, job_id: str) -> None:
        _put(self.light, job_id, lambda services, name, _: send(services, name))

    def delivery(self, entry_id: str) -> None:
        _put(self.light, entry_id, lambda services, name, _: handle(services, name))

    def finalisation(self, job_id: str) -> None:
        _put(self.heavy, job_id, finalise)

    def cancellation(self, job_id: str) -> None:
        _put(self.light, job_id, lambda services, name, _: stop(services, name))

    def purge(self, job_id: str) -> None:
        _put(self.light, job_id, lambda services, name, _: purge(services, name))

    def afterwards(self, job_id: str) -> None:
        _put(self.idle, job_id, lambda services, name, _: afterwards(services, name))

    async def quiet(self) -> None:
        """Return once everything nudged so far is done: light work nudges heavy, that idle."""
        await self.light.join()
        await self.heavy.join()
        await self.idle.join()


def _put(queue: Queue, name: str, act: Action) -> None:
    try:
        queue.put_nowait((name, act))
    except asyncio.QueueFull:
        log.warning("nudge dropped: the sweep will find it", extra={"item": name})


@asynccontextmanager
async def running_worker(services: Services, nudges: Nudges, holder: str) -> AsyncIterator[None]:
    """Work on nudges while the body runs; on leaving, finish light work and give back leases.

    What is idle work is dropped: a thumbnail that is half made is begun anew elsewhere.
    """
    queues = ((nudges.light, LIGHT_WORKERS), (nudges.heavy, HEAVY_WORKERS))
    light, heavy, idle = (
        [asyncio.create_task(_work(services, queue, holder)) for _ in range(count)]
        for queue, count in (*queues, (nudges.idle, IDLE_WORKERS))
    )
    try:
        yield
    finally:
        await _end([*heavy, *idle])
        try:
            async with asyncio.timeout(DRAIN_S):
                await nudges.light.join()
        except TimeoutError:
            log.warning("stopped with work undone: the sweep of another process finds it")
        await _end(light)


@asynccontextmanager
async def running_reconciler(services: Services, interval_s: float) -> AsyncIterator[None]:
    """Sweep again and again while the body runs."""
    task = asyncio.create_task(reconcile_forever(services, interval_s))
    try:
        yield
    finally:
        await _end([task])


async def reconcile_forever(services: Services, interval_s: float) -> None:
    """Sweep, wait a jittered interval, repeat until cancelled. A sweep's failure is logged."""
    while True:
        try:
            # What a full batch took is put off, so the next one cannot be the same again.
            busy = (await sweep_once(services)).full
        except Transient as error:
            log.warning("sweep failed", extra={"reason": str(error)})
            busy = False
        except Exception:
            # A bug must not end the sweeping for good: this is everybody's last resort.
            log.exception("sweep failed")
            busy = False
        # Jitter keeps several sidecars from asking in step; a full batch means more is due.
        await asyncio.sleep(0 if busy else interval_s * random.uniform(0.8, 1.2))  # noqa: S311


async def _work(services: Services, queue: Queue, holder: str) -> None:
    while True:
        name, act = await queue.get()
        try:
            await act(services, name, holder)
        except Transient as error:
            log.warning("put off", extra={"item": name, "reason": str(error)})
        except Exception:
            # A bug met at one item must not stop the worker; the item's row stays due.
            log.exception("failed", extra={"item": name})
        finally:
            queue.task_done()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
