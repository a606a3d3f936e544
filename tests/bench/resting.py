"""`python -m tests.bench.resting web`: the web process, whose worker lets go of what it is told of.

Shows what a delivery's receipt costs without its handling, which a bare route does not do either.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from service import __main__
from service.commands import web
from service.ports import Services
from service.worker import Nudges, Queue


@contextlib.asynccontextmanager
async def resting_worker(services: Services, nudges: Nudges, holder: str) -> AsyncIterator[None]:
    queues = (nudges.deliveries, nudges.light, nudges.heavy, nudges.idle)
    tasks = [asyncio.create_task(_forget(each)) for each in queues]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def _forget(queue: Queue) -> None:
    while True:
        await queue.get()
        queue.task_done()


if __name__ == "__main__":
    web.running_worker = resting_worker  # type: ignore[attr-defined]
    sys.exit(__main__.main())
