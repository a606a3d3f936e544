"""Runs the web application with uvicorn until SIGTERM or SIGINT, then drains and returns."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from starlette.applications import Starlette

GRACEFUL_S: Final = 10  # answers under way; with the worker's 10 s under a container's 30 s
KEEP_ALIVE_S: Final = 75  # longer than a proxy's 60 s, so that the proxy closes first
MAX_CONNECTIONS: Final = 5_000
BACKLOG: Final = 2_048


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which ends the process before ours is drained."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: Starlette, host: str, port: int, *, stop: asyncio.Event, on_ready: Callable[[int], None]
) -> None:
    """Serve until `stop` is set. `on_ready` learns the port once connections are accepted.

    Answers that wait for something to change end then, the others are finished.

    Raises OSError if the address cannot be listened on.
    """
    listener = listen(host, port)
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACEFUL_S,
            timeout_keep_alive=KEEP_ALIVE_S,
            limit_concurrency=MAX_CONNECTIONS,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        # The kernel accepts connections since `listen`: nobody who calls now is refused.
        on_ready(listener.getsockname()[1])
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        app.state.streams.watcher.close()
        server.should_exit = True
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await task


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises OSError.

    It names its protocol, which those of `socket.create_server` do not: asyncio switches
    Nagle's algorithm off only then, and without that each answer may take 40 ms longer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
