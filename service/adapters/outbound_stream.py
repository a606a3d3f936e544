"""The byte stream below the guarded client: no layer it can do without, and all that has come.

httpcore asks for 64 KiB at a time and its own backend answers with a TLS record, 16 KiB; what lies
above then runs sixty times for each MB. Here the operating system's and OpenSSL's bytes go
straight into one buffer, and a read hands out whatever is in it.
"""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

import httpcore

# As much as asyncio decrypts at a time; more is hardly faster, and each transfer has a few such.
BUFFER_BYTES: Final = 256 * 1024
# Less room than this is not worth a read: first what is there has to be taken.
LEAST_ROOM: Final = 64 * 1024


class Backend(httpcore.AsyncNetworkBackend):
    """Connects to addresses; whether it may is decided above it (`outbound.GuardedBackend`)."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> "Stream":
        """Raises httpcore.ConnectTimeout or ConnectError."""
        assert local_address is None, "nobody here chooses where from"
        assert not socket_options, "asyncio's own serve"
        try:
            async with asyncio.timeout(timeout):
                transport, arrivals = await asyncio.get_running_loop().create_connection(
                    Arrivals, host, port
                )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return Stream(transport, arrivals)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Arrivals(asyncio.BufferedProtocol):
    """What has come and was not taken yet. A full buffer stops the sender."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._filled = 0
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def readable(self) -> bool:
        """There are bytes, or it is known that none will follow."""
        return self._filled > 0 or self._ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if BUFFER_BYTES - self._filled < LEAST_ROOM and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._error = True, exc
        self._wake()

    async def wait(self) -> None:
        """Until there is something to take."""
        if not self.readable:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def take(self) -> bytes:
        """All that has come; nothing at the end. Raises httpcore.ReadError if that was no end."""
        if not self._filled and self._error is not None:
            raise httpcore.ReadError(str(self._error)) from self._error
        taken = bytes(self._buffer[: self._filled])
        self._filled = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return taken

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Stream(httpcore.AsyncNetworkStream):
    """One connection, used by one reader at a time."""

    def __init__(self, transport: asyncio.Transport, arrivals: Arrivals) -> None:
        self._transport = transport
        self._arrivals = arrivals

    async def read(
        self,
        max_bytes: int,  # noqa: ARG002 - h11 takes more, and each read costs the same
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> bytes:
        """Up to BUFFER_BYTES; nothing at the end. Raises httpcore.ReadTimeout or ReadError."""
        if not self._arrivals.readable:
            try:
                async with asyncio.timeout(timeout):
                    await self._arrivals.wait()
            except TimeoutError as error:
                raise httpcore.ReadTimeout("nothing came") from error
        return self._arrivals.take()

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002
    ) -> None:
        """Requests alone are written here, which fit the socket's buffer: nothing to wait for."""
        if self._transport.is_closing():
            raise httpcore.WriteError("the connection is gone")
        self._transport.write(buffer)

    async def aclose(self) -> None:
        """At once, without TLS's farewell, which a peer could let us wait for."""
        self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> "Stream":
        """Raises httpcore.ConnectTimeout or ConnectError, and the connection is closed then."""
        arrivals = Arrivals()  # a new one: what came unencrypted must never be taken for content
        try:
            async with asyncio.timeout(timeout):
                transport = await asyncio.get_running_loop().start_tls(
                    self._transport, arrivals, ssl_context, server_hostname=server_hostname
                )
        except BaseException as error:
            self._transport.abort()
            if isinstance(error, TimeoutError):
                raise httpcore.ConnectTimeout("TLS took too long") from error
            if isinstance(error, OSError):  # ssl.SSLError is one
                raise httpcore.ConnectError(str(error)) from error
            raise
        if transport is None:
            raise httpcore.ConnectError("closed during the handshake")
        arrivals.connection_made(transport)
        return Stream(transport, arrivals)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks: the TLS object, and whether an idle connection has come to life."""
        if info == "is_readable":
            return self._arrivals.readable
        return self._transport.get_extra_info(info)
