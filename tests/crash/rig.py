"""Real parts, opened once for all runs, and the processes that live and die over them.

A process here is the service's own application and worker over the shared adapters, with doors
in between. Its death is a flag that every door looks at, so that cleanup code has no effect.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import httpx
import pytest
from moto.s3.models import s3_backends

from service.adapters.object_store import open_bucket
from service.adapters.outbound import tls_context
from service.adapters.s3_calls import StorageLimits
from service.flows.reconcile import sweep_once
from service.sandbox.object_store import ObjectStore
from service.sandbox.server import _listener, _serving, _stage
from service.sandbox.settings import Sandbox
from service.sandbox.stage import Stage
from service.settings import Needs, read_settings
from service.web.app import build_app
from service.wiring import Runtime, bucket_settings, fal_settings, open_runtime
from service.worker import Nudges, running_worker
from tests.crash.doors import Doors, Wiring, with_doors, with_front_doors
from tests.crash.plan import Killed, Plan
from tests.world import TINY, environment

T = TypeVar("T")

PART_BYTES: Final = 32 * 1024
STORAGE: Final = StorageLimits(
    single_put_bytes=PART_BYTES,
    part_bytes=PART_BYTES,
    attempts=2,
    retry_pause_s=0.001,
)
BOUND_S: Final = 20.0  # for what takes milliseconds
KEPT_TABLES: Final = frozenset({"template", "migration"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Rig:
    """The database, the stand-ins for fal and R2, and what leads to them."""

    runtime: Runtime
    stage: Stage
    wiring: Wiring
    tables: tuple[str, ...]

    @property
    def objects(self) -> Any:
        """moto's own bucket: what is really stored, finished or not."""
        return s3_backends["123456789012"]["aws"].buckets[self.wiring.bucket.bucket]

    async def clear(self) -> None:
        """Forget every earlier run: the audit then reads one run's rows alone."""
        emptied = " ".join(f"DELETE {table};" for table in self.tables)
        await self.runtime.store.database.write(f"{{ {emptied} }}")
        await self.stage.queue.clear()
        self.stage.book.clear()
        self.stage.totals.clear()
        self.objects.keys.clear()
        self.objects.multiparts.clear()

    async def time_passes(self, *, leases: bool) -> None:
        """Whatever waits is due now. `leases`: so long that those end which nobody prolongs."""
        due = "due = time::now() - 1ms"
        lines = [
            f"UPDATE video_job SET {due} WHERE due != NONE",
            f"UPDATE inbox SET {due} WHERE due != NONE",
            "UPDATE video_job SET purge_due = time::now() - 1ms WHERE purge_due != NONE",
            "UPDATE account SET close_due = time::now() - 1ms WHERE close_due != NONE",
        ]
        if leases:
            ended = "lease_until = time::now() - 1ms"
            lines.append(f"UPDATE video_job SET {ended} WHERE lease_until != NONE")
        if "pause" in self.tables:
            lines.append("UPDATE pause SET until = time::now() - 1ms")
        await self.runtime.store.database.write(f"{{ {'; '.join(lines)}; }}")


@asynccontextmanager
async def open_rig(s3: ObjectStore) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        stack.enter_context(_small_parts())
        sandbox = replace(TINY, bucket="crashes")
        await asyncio.to_thread(s3.create_bucket, sandbox.bucket)
        listener = _listener(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        stage = await stack.enter_async_context(_stage(sandbox, url))
        await stack.enter_async_context(_serving(stage, listener))
        standing = Sandbox(settings=sandbox, fal_url=url, s3_url=s3.url)
        settings = read_settings(environment(standing, 9), Needs.WEB)
        runtime = await stack.enter_async_context(open_runtime(settings))
        bucket = await stack.enter_async_context(open_bucket(bucket_settings(settings), STORAGE))
        transport = httpx.AsyncHTTPTransport(verify=tls_context())
        await stack.enter_async_context(transport)
        info = await runtime.store.database.read("INFO FOR DB")
        yield Rig(
            runtime=runtime,
            stage=stage,
            wiring=Wiring(
                s3=bucket._s3,
                bucket=bucket_settings(settings),
                limits=STORAGE,
                transport=transport,
                fal=fal_settings(settings),
            ),
            tables=tuple(name for name in info["tables"] if name not in KEPT_TABLES),
        )


@contextlib.contextmanager
def _small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", PART_BYTES)
        yield


class Simulated:
    """One process of the service: it serves, works and sweeps until it ends in some way."""

    def __init__(self, rig: Rig, plan: Plan, name: str, lease_s: float | None = None) -> None:
        self.dead = False
        self.hung = False
        self.stopping = False
        self.ended = False
        self.name = name
        self.halted = asyncio.Event()  # dead, hung or stopping: there is no use in waiting for it
        self._released = asyncio.Event()
        self._workers: set[asyncio.Task[Any]] = set()
        self._requests: set[asyncio.Task[Any]] = set()
        self._sweeps: set[asyncio.Task[Any]] = set()
        self._nudges = Nudges()
        doors = Doors(self, plan)
        policy = replace(rig.runtime.services.policy, lookup_apart_s=0)
        if lease_s is not None:
            policy = replace(policy, lease_s=lease_s)
        base = replace(rig.runtime.services, policy=policy, nudge=self._nudges, poster=None)
        self.services = with_doors(base, doors, rig.wiring)
        runtime = replace(rig.runtime, services=self.services, nudges=self._nudges, holder=name)
        self._worker = running_worker(self.services, self._nudges, name)
        app = with_front_doors(build_app(runtime), doors)
        front = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=front, base_url="http://web")

    async def start(self) -> "Simulated":
        """Nothing else runs meanwhile, so that every task made here is the worker's."""
        loop = asyncio.get_running_loop()

        def noted(_: object, work: Any, **options: Any) -> asyncio.Task[Any]:
            task = asyncio.Task(work, loop=loop, **options)
            self._workers.add(task)
            return task

        usual = loop.get_task_factory()
        loop.set_task_factory(noted)
        try:
            await self._worker.__aenter__()
        finally:
            loop.set_task_factory(usual)
        return self

    # ------------------------------------------------------------------ what strikes a process

    def die(self) -> None:
        """As SIGKILL. Who is inside goes no further than the next door."""
        self.dead = True
        self.halted.set()
        for task in self._all():
            task.cancel()

    def stop(self) -> None:
        """As SIGTERM: whoever waits for it is to call `end`."""
        self.stopping = True
        self.halted.set()

    async def hang(self) -> None:
        self.hung = True
        self.halted.set()
        await self._released.wait()

    # ------------------------------------------------------------------- what is done with one

    async def answer(self, request: Coroutine[Any, Any, T]) -> T | None:
        """What a request comes to; None if the process does not come to answering it."""
        return await self._run(request, self._requests)

    async def sweep(self) -> None:
        await self._run(self._sweep(), self._sweeps)

    async def _sweep(self) -> None:
        """As `worker.reconcile_forever` does it: a sweep that fails is followed by another."""
        with contextlib.suppress(Exception):
            await sweep_once(self.services)

    async def quiet(self) -> None:
        """Return once its worker has nothing left to do, or it is of no use any more."""
        idle = asyncio.ensure_future(self._nudges.quiet())
        await self._settles(idle)
        await cancelled(idle)

    async def release(self) -> None:
        """Let it go on from where it hung: as a zombie, if others went on without it."""
        self.hung = False
        if not self.dead:
            self.halted.clear()
        self._released.set()
        under_way = self._requests | self._sweeps
        if under_way:
            await self._settles(asyncio.ensure_future(asyncio.wait(under_way)))
        await self.quiet()

    async def end(self) -> None:
        """A drained stop, as `web` does it; of a dead one, only its remains are taken away."""
        if self.ended:
            return
        self.ended = True
        self._released.set()
        async with asyncio.timeout(BOUND_S):
            await asyncio.gather(*self._requests, return_exceptions=True)
            for task in self._sweeps:
                await cancelled(task)
            if self.dead:  # perhaps only while it drained
                await self._bury()
            await self._worker.__aexit__(None, None, None)
        await self.http.aclose()

    async def _run(self, work: Coroutine[Any, Any, T], among: set[asyncio.Task[Any]]) -> T | None:
        task = asyncio.create_task(work)
        among.add(task)
        if not await self._settles(task):
            return None
        among.discard(task)
        if task.cancelled() or isinstance(task.exception(), Killed | BaseExceptionGroup):
            return None
        return task.result()

    async def _settles(self, task: "asyncio.Future[Any]") -> bool:
        """Whether the task ended; if not, there is no use in waiting for it."""
        halted = asyncio.ensure_future(self.halted.wait())
        done, _ = await asyncio.wait(
            {task, halted}, return_when=asyncio.FIRST_COMPLETED, timeout=BOUND_S
        )
        await cancelled(halted)
        assert done, f"{self.name} neither ends nor halts"
        return task.done()

    async def _bury(self) -> None:
        _, left = await asyncio.wait(self._all(), timeout=BOUND_S)
        assert not left, f"a dead process goes on: {left}"
        for queue in (
            self._nudges.deliveries,
            self._nudges.light,
            self._nudges.heavy,
            self._nudges.idle,
        ):
            while not queue.empty():
                queue.get_nowait()
                queue.task_done()

    def _all(self) -> set[asyncio.Task[Any]]:
        return self._workers | self._requests | self._sweeps


async def cancelled(task: "asyncio.Future[Any]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
