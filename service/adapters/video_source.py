"""Rendered files from fal's CDN: bounded, sniffed, walked, and resumed where a connection broke."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from service.adapters.outbound import DownloadLimits, OutboundPolicy, check_url
from service.adapters.source_connection import SourceConnection
from service.domain.errors import NotAVideo, SourceRefused, SourceTooLarge, Transient
from service.domain.mp4 import Mp4Walk


class HttpVideoSource:
    """ports.VideoSource over a client from `outbound.guarded_client`."""

    def __init__(
        self, client: httpx.AsyncClient, policy: OutboundPolicy, limits: DownloadLimits
    ) -> None:
        self._client = client
        self._policy = policy
        self._limits = limits

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator["HttpDownload"]:
        """Open the file at `url` and read until it is recognised as an MP4.

        A repeat downloads afresh. Raises SourceRefused (address or redirect not allowed),
        SourceGone, SourceTooLarge (announced), NotAVideo (its head already says so), or
        Transient (unreachable, busy, slow).
        """
        connection = SourceConnection(self._client, self._policy, self._limits, url)
        download = HttpDownload(connection, self._limits)
        try:
            await download.recognise()
            yield download
        finally:
            await connection.close()

    def shown(self, url: str) -> str | None:
        try:
            return str(check_url(self._policy, url))
        except SourceRefused:
            return None


class HttpDownload:
    """ports.Download: one file being read, across reconnects."""

    def __init__(self, connection: SourceConnection, limits: DownloadLimits) -> None:
        self._connection = connection
        self._limits = limits
        self._deadline = asyncio.get_running_loop().time() + limits.total_timeout_s
        self._pace = _Pace(limits)
        self._walk = Mp4Walk()
        self._head: list[bytes] = []
        self._received = 0
        self._reconnects = 0

    @property
    def size(self) -> int | None:
        return self._connection.size

    @property
    def reconnects(self) -> int:
        """How often the connection broke and was resumed, for the log."""
        return self._reconnects

    async def recognise(self) -> None:
        """Read the head of the file, and keep it for `chunks`."""
        while not self._walk.recognised:
            chunk = await self._next()
            if chunk is None:
                raise NotAVideo("the file is too short to be an MP4")
            self._head.append(chunk)

    async def chunks(self) -> AsyncIterator[bytes]:
        """As ports.Download says; the end is reached only after the walk agreed to it."""
        head, self._head = self._head, []
        for chunk in head:
            yield chunk
        while (following := await self._next()) is not None:
            yield following
        self._walk.finish()
        if self._walk.open_ended and not self._connection.delimited:
            raise NotAVideo("neither the file nor the answer says where it ends")

    async def _next(self) -> bytes | None:
        """The next bytes, counted and walked; None at the end. Reconnects as often as allowed."""
        while True:
            try:
                chunk = await self._read()
            except httpx.TransportError as error:
                await self._reconnect_later(error)
                continue
            if chunk is None:
                return None
            self._received += len(chunk)
            allowed = self._limits.max_bytes if self.size is None else self.size
            if self._received > allowed:
                raise SourceTooLarge(f"the file has more than the {allowed} bytes it may have")
            self._walk.feed(chunk)
            return chunk

    async def _read(self) -> bytes | None:
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._connection.open(self._received)
                started = time.monotonic()
                chunk = await self._connection.read(self._received)
        except TimeoutError:
            raise Transient(f"the download took over {self._limits.total_timeout_s} s") from None
        self._pace.check(time.monotonic() - started, len(chunk or b""))
        return chunk

    async def _reconnect_later(self, error: httpx.TransportError) -> None:
        """Wait before the next connection, or raise Transient when there is to be none."""
        await self._connection.close()
        reason = type(error).__name__
        if self._received and not self._connection.resumable:
            raise Transient(f"the source broke off and cannot be resumed: {reason}") from error
        if self._reconnects == self._limits.max_reconnects:
            raise Transient(
                f"the source broke off {self._reconnects + 1} times: {reason}"
            ) from error
        pause_s = self._limits.reconnect_pause_s * 2**self._reconnects
        self._reconnects += 1
        await asyncio.sleep(pause_s)


@dataclass(slots=True)
class _Pace:
    """The rate over a window of waiting time.

    Only waiting for the body counts: while storage holds us back we do not read, and the sender is
    not slow.
    """

    limits: DownloadLimits
    waited_s: float = 0.0
    received: int = 0

    def check(self, waited_s: float, received: int) -> None:
        """Count one read. Raises Transient at the end of a window that was too slow."""
        self.waited_s += waited_s
        self.received += received
        if self.waited_s < self.limits.rate_window_s:
            return
        rate = self.received / self.waited_s
        if rate < self.limits.min_bytes_per_s:
            raise Transient(f"the source sends only {rate:.0f} bytes/s")
        self.waited_s, self.received = 0.0, 0
