"""Tells whoever waits that a job has changed: one batch of reads for all who wait, per process.

A push is only a nudge. The row and its version are the truth: a change that this process did not
make is seen at the next look, a second later, and a client that reconnects starts from the row.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from service.domain.errors import Transient
from service.domain.job import Job
from service.ports import Store

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0  # how late a change made by another process is seen
BATCH: Final = 500  # jobs in one query
TASK: Final = "look at watched jobs"


class Closed(Exception):
    """The process is stopping: come back to another one."""


@dataclass(eq=False, slots=True)
class Watch:
    """One who waits for a job to have another version than the one it knows."""

    job_id: str
    version: int
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _latest: Job | None = None
    _closed: bool = False

    async def next(self, timeout_s: float) -> Job | None:
        """The job once it has changed; None if it does not within that time. Raises Closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        if self._closed:
            raise Closed
        self._news.clear()
        latest, self._latest = self._latest, None
        return latest

    def tell(self, job: Job) -> None:
        if job.version != self.version:
            self.version = job.version
            self._latest = job
            self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()


class Watcher:
    """Reads the versions of all watched jobs together, once a second or when one is poked.

    It looks only while somebody waits.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watches: dict[str, set[Watch]] = {}
        self._poked: set[str] = set()
        self._wake = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @contextmanager
    def watch(self, job: Job) -> Iterator[Watch]:
        """Wait for changes of a job, from the version just read on. Raises Closed."""
        if self._closed:
            raise Closed
        watch = Watch(job.id, job.version)
        self._watches.setdefault(job.id, set()).add(watch)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_forever(), name=TASK)
        try:
            yield watch
        finally:
            self._forget(watch)

    def poke(self, job_id: str) -> None:
        """Look at a job at once, if anybody waits for it: this process has written to it."""
        if job_id in self._watches:
            self._poked.add(job_id)
            self._wake.set()

    def close(self) -> None:
        """End every watch, now and from now on: the process is stopping."""
        self._closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.close()

    def _forget(self, watch: Watch) -> None:
        others = self._watches[watch.job_id]
        others.discard(watch)
        if not others:
            del self._watches[watch.job_id]
        if not self._watches and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look_forever(self) -> None:
        loop = asyncio.get_running_loop()
        next_look = loop.time() + LOOK_EVERY_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_look):
                    await self._wake.wait()
            self._wake.clear()
            ids, self._poked = [each for each in self._poked if each in self._watches], set()
            if loop.time() >= next_look:  # however much is poked, all are looked at in time
                ids = list(self._watches)
                next_look = loop.time() + LOOK_EVERY_S
            await self._look_safely(ids)

    async def _look_safely(self, ids: Sequence[str]) -> None:
        try:
            await self._look(ids)
        except Transient as error:  # the next look is a second away
            log.warning("watched jobs not read", extra={"reason": str(error)})
        except Exception:
            # A bug met at one job must not end the watching of all.
            log.exception("watching failed")

    async def _look(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            versions = await self._store.versions(batch)
            changed = [each for each in batch if self._is_news(each, versions)]
            for job in await self._store.jobs_named(changed) if changed else []:
                for watch in self._watches.get(job.id, ()):
                    watch.tell(job)

    def _is_news(self, job_id: str, versions: Mapping[str, int]) -> bool:
        version = versions.get(job_id)
        return version is not None and any(
            watch.version != version for watch in self._watches.get(job_id, ())
        )
