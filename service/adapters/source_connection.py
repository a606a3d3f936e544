"""One conversation with the source: redirects checked by hand, answers judged, Range to resume."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpcore
import httpx

from service.adapters.outbound import DownloadLimits, OutboundPolicy, check_url
from service.domain.errors import (
    NotAVideo,
    SourceGone,
    SourceRefused,
    SourceTooLarge,
    Transient,
)

# Client errors that speak of the moment; every other one speaks of the address (see `_refusal`).
PASSING: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+)")


class SourceConnection:
    """The answer being read, and what the first answer told about the file."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        policy: OutboundPolicy,
        limits: DownloadLimits,
        url: str,
    ) -> None:
        self._client = client
        self._policy = policy
        self._limits = limits
        self._url = url
        self._response: httpx.Response | None = None
        self._body: AsyncIterator[bytes] | None = None
        self._rest: _Rest | None = None
        self._etag: str | None = None
        self.size: int | None = None
        self.delimited = False
        """HTTP itself can tell whether the body came whole: by its length or by its chunks."""

    @property
    def resumable(self) -> bool:
        """Whether a later answer can be proven to continue this one."""
        return self.size is not None and self._etag is not None

    async def open(self, received: int) -> None:
        """Ask for the bytes from `received` on; while an answer is being read, do nothing.

        Raises what `HttpVideoSource.fetch` says, or httpx.TransportError when no answer came.
        """
        if self._body is None:
            self._response = await self._answer(received)
            self._body = self._response.aiter_raw()

    async def read(self, received: int) -> bytes | None:
        """The bytes that follow the first `received`; None at the end of the file.

        Raises httpx.TransportError when the connection broke, whatever was still to come.
        """
        assert self._body is not None, "opened first"
        if self._rest is not None:
            chunk = await self._rest.read(self._limits.idle_timeout_s)
        else:
            chunk = await anext(self._body, None)
            self._rest = _rest(self._response, chunk, self._limits.read_directly_from_bytes)
        if chunk is None and self.size is not None and received < self.size:
            raise httpx.RemoteProtocolError("the body ended early")
        return chunk

    async def close(self) -> None:
        """Drop the answer; a repeat does nothing."""
        response, self._response, self._body, self._rest = self._response, None, None, None
        if response is not None:
            await response.aclose()

    async def _answer(self, received: int) -> httpx.Response:
        try:
            async with asyncio.timeout(self._limits.answer_timeout_s):
                response = await self._follow(received)
        except TimeoutError as error:
            raise httpx.ReadTimeout("no answer") from error
        try:
            if received:
                self._check_resumed(response, received)
            else:
                self._learn(response)
        except BaseException:
            await response.aclose()
            raise
        return response

    async def _follow(self, received: int) -> httpx.Response:
        """The first answer that is no redirect; each hop is checked like the first address."""
        headers = {}
        if received:
            assert self._etag is not None, "only a resumable download is resumed"
            headers = {"Range": f"bytes={received}-", "If-Range": self._etag}
        url: str | httpx.URL = self._url
        for _ in range(self._limits.max_redirects + 1):
            checked = check_url(self._policy, url)
            request = self._client.build_request("GET", checked, headers=headers)
            try:
                response = await self._client.send(request, stream=True)
            except httpx.InvalidURL:  # of the address it redirects to, which httpx works out
                raise SourceRefused("the source redirects to what is no address") from None
            if response.next_request is None:
                return response
            await response.aclose()
            url = response.next_request.url
        raise SourceRefused(f"more than {self._limits.max_redirects} redirects")

    def _learn(self, response: httpx.Response) -> None:
        if response.status_code != HTTPStatus.OK:
            raise _refusal(response.status_code)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise NotAVideo("the source serves the file encoded although asked not to")
        length = response.headers.get("Content-Length")
        self.size = None if length is None else int(length)  # h11 let only digits pass
        self.delimited = self.size is not None or "Transfer-Encoding" in response.headers
        if self.size is not None and self.size > self._limits.max_bytes:
            raise SourceTooLarge(f"the file has {self.size} bytes; {self._limits.max_bytes} may be")
        etag = response.headers.get("ETag", "")
        self._etag = etag if etag.startswith('"') else None  # a weak one promises no equal bytes

    def _check_resumed(self, response: httpx.Response, received: int) -> None:
        status = response.status_code
        if status == HTTPStatus.OK:
            raise Transient("the file changed while it was being read")
        if status != HTTPStatus.PARTIAL_CONTENT:
            raise _refusal(status)
        told = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if told is None or (int(told[1]), int(told[2])) != (received, self.size):
            raise Transient("the source resumed at another place than asked")


@dataclass(slots=True)
class _Rest:
    """The bytes that are left of a body, straight from its connection."""

    stream: httpcore.AsyncNetworkStream
    left: int

    async def read(self, timeout_s: float) -> bytes | None:
        """What has come; None at the end. Raises httpx.TransportError when it ended early."""
        if not self.left:
            return None
        try:
            chunk = await self.stream.read(self.left, timeout_s)
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise httpx.ReadError(type(error).__name__) from error
        if not chunk:
            raise httpx.RemoteProtocolError("the body ended early")
        chunk = chunk[: self.left]  # what follows a body is not of it
        self.left -= len(chunk)
        return chunk


def _rest(response: httpx.Response | None, first: bytes | None, least: int) -> _Rest | None:
    """What follows the first piece, if its length alone says where it ends, and is `least`.

    The first piece is all that HTTP's layers had read ahead.
    """
    if response is None or first is None or "Transfer-Encoding" in response.headers:
        return None
    left = int(response.headers.get("Content-Length", 0)) - len(first)
    if left < least:
        return None
    return _Rest(response.extensions["network_stream"], left)


def _refusal(status: int) -> SourceGone | Transient:
    """What a status means for the job.

    Client errors are about the address (an expired signature is a 400, 401, 403, 404 or 410,
    depending on the store behind the CDN): asking the same again is no use, a fresh address may
    be. All others, an unasked 2xx or 3xx among them, are the CDN's trouble and pass.
    """
    if 400 <= status < 500 and status not in PASSING:  # noqa: PLR2004 - the class of a status
        return SourceGone(f"the source answered {status}")
    return Transient(f"the source answered {status}")
