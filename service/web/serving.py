"""Runs the web application with uvicorn until SIGTERM or SIGINT, then drains and returns."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.web.limits import MAX_HEAD_BYTES

GRACEFUL_S: Final = 10  # answers under way; with the worker's 10 s under a container's 30 s
KEEP_ALIVE_S: Final = 75  # longer than a proxy's 60 s, so that the proxy closes first
MAX_CONNECTIONS: Final = 5_000
BACKLOG: Final = 2_048
HEAD_S: Final = 15.0  # a request's head must be there, and a rest that nobody reads be over
MAX_AHEAD: Final = 200  # requests sent before the one in front of them is answered; 3 kB each
UNACKNOWLEDGED_S: Final = 90  # a peer that takes nothing for so long is gone, whatever it says


_VERSIONS: Final = frozenset({"1.0", "1.1"})
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


class _Refused(Exception):
    """A head that the parser lets pass and we do not."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which ends the process before ours is drained."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP, but it waits for a request only so long and reads only so much of one.

    uvicorn bounds the time between two requests and no other: a client that never ends its
    headers, or dribbles on after its answer, would keep its connection for ever. Nor does its
    parser bound a head, or how many requests are sent ahead of their answers; and it lets pass a
    head without a Host, or with two.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes: int | None = None  # of the head that is arriving
    _ended = False  # nothing more comes, and not all is answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_client()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
                return
        if self._is_unanswered():
            self._stop_waiting()
        else:  # a head has begun, or a body goes on after its answer
            self._wait_for_client()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value.strip(b" \t"))  # blanks around it are not the sender's

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        # The parser makes a 400 of whatever is raised here, and the connection ends.
        if len(self.pipeline) >= MAX_AHEAD:
            raise _Refused("requests are sent faster than answers are taken")
        version = self.parser.get_http_version()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if version not in _VERSIONS or hosts > 1 or (hosts == 0 and version != "1.0"):
            raise _Refused("what proxies could read in two ways is read in none")
        super().on_headers_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Who sends nothing more is gone, unless there are requests in line: those are answered."""
        self._ended = self._ended or bool(self.pipeline)
        return self._ended and self._is_unanswered()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._ended and not self._is_unanswered():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_unanswered(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def _wait_for_client(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


async def serve(
    app: Starlette, host: str, port: int, *, stop: asyncio.Event, on_ready: Callable[[int], None]
) -> None:
    """Serve until `stop` is set. `on_ready` learns the port once connections are accepted.

    Answers that wait for something to change end then, the others are finished.

    Raises OSError if the address cannot be listened on.
    """
    listener = listen(host, port)
    server = new_server(app)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        # The kernel accepts connections since `listen`: nobody who calls now is refused.
        on_ready(listener.getsockname()[1])
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if streams := getattr(app.state, "streams", None):  # the sidecar has none
            streams.watcher.close()
        server.should_exit = True
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await task


def new_server(app: Starlette, *, connections: int = MAX_CONNECTIONS) -> uvicorn.Server:
    """A server that is bounded in all that a client may take; it leaves signals alone."""
    return _Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            proxy_headers=False,  # nothing here depends on who a header says the client is
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACEFUL_S,
            timeout_keep_alive=KEEP_ALIVE_S,
            limit_concurrency=connections,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises OSError.

    It names its protocol, which those of `socket.create_server` do not: asyncio switches
    Nagle's algorithm off only then, and without that each answer may take 40 ms longer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections have it too
            timeout_ms = UNACKNOWLEDGED_S * 1000
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
