"""Runs the sandbox on loopback, inside the current process and event loop."""

import asyncio
import socket
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import cache
from typing import Final

import httpx
import uvicorn

from service.sandbox.connection import CuttableProtocol
from service.sandbox.extras import load
from service.sandbox.fal import app
from service.sandbox.object_store import ObjectStore, object_store
from service.sandbox.queue import Queue
from service.sandbox.renderer import Renderer
from service.sandbox.settings import LOOPBACK, Sandbox, SandboxSettings
from service.sandbox.signing import KeyRing
from service.sandbox.stage import Stage
from service.sandbox.tasks import Tasks
from service.sandbox.webhooks import Courier, RetrySchedule

_RENDER_THREADS: Final = 2
_BACKLOG: Final = 2048
_LAST_ANSWERS_S: Final = 5
# Longer than any test or client keeps an idle connection: ours never closes first.
_KEEP_ALIVE_S: Final = 600


@asynccontextmanager
async def run_sandbox(
    settings: SandboxSettings, *, store: ObjectStore | None = None
) -> AsyncIterator[Sandbox]:
    """Both stand-ins, ready for requests, until the block ends; nothing is left running.

    `store` lends an object store that is already running, as a test session has: it is left
    running. Raises MissingExtraError without the extra, OSError if a port is taken.
    """
    load("av")
    async with AsyncExitStack() as stack:
        if store is None:
            owned = object_store(settings.s3_port, process=settings.s3_process)
            store = stack.enter_context(owned)
        await asyncio.to_thread(store.create_bucket, settings.bucket)
        listener = _listener(settings.fal_port)
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        shared = await stack.enter_async_context(_stage(settings, url))
        await stack.enter_async_context(_serving(shared, listener))
        yield Sandbox(settings=settings, fal_url=url, s3_url=store.url)


async def serve_forever(settings: SandboxSettings) -> None:
    """Run until cancelled, after printing the environment that points the service at it."""
    async with run_sandbox(settings) as sandbox:
        lines = [f"{name}={value}" for name, value in sandbox.environment().items()]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def _listener(port: int) -> socket.socket:
    """A listening socket that says it is TCP.

    asyncio switches Nagle's algorithm off only where a socket names its protocol, which those
    of `socket.create_server` do not: each answer would take 40 ms longer.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        listener.close()
        raise
    listener.listen(_BACKLOG)
    return listener


@asynccontextmanager
async def _stage(settings: SandboxSettings, base_url: str) -> AsyncIterator[Stage]:
    totals: Counter[str] = Counter()
    keys, tasks = KeyRing(settings.signing_seed), Tasks()
    async with AsyncExitStack() as stack:
        executor = ThreadPoolExecutor(_RENDER_THREADS, thread_name_prefix="sandbox-render")
        stack.callback(executor.shutdown, cancel_futures=True)
        client = await stack.enter_async_context(_client())
        stack.push_async_callback(tasks.close)
        courier = Courier(
            keys=keys,
            user_id=settings.user_id,
            schedule=RetrySchedule().scaled(settings.time_scale),
            client=client,
            totals=totals,
        )
        renderer = Renderer(settings=settings, client=client, executor=executor, tasks=tasks)
        queue = Queue(
            settings=settings, base_url=base_url, tasks=tasks, renderer=renderer, courier=courier
        )
        yield Stage(settings=settings, base_url=base_url, queue=queue, keys=keys, totals=totals)


def _client() -> httpx.AsyncClient:
    """For webhooks and start images: no proxy, no redirects unless asked, own deadlines."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx.AsyncClient(trust_env=False, timeout=None, limits=limits, verify=_tls())  # noqa: S113


@cache
def _tls() -> ssl.SSLContext:
    """Read once per process: a test session starts many sandboxes."""
    return ssl.create_default_context()


@asynccontextmanager
async def _serving(shared: Stage, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app(shared),
        http=CuttableProtocol,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )
    server = _Server(config)
    # The listener already queues connections, so there is no start to wait for.
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.stopping.set()
        await serving


class _Server(uvicorn.Server):
    """Leaves the process's signals alone, and stops when told and not at the next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hang up on everybody: stalled files and slow answers would be waited for."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)
