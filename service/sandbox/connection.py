"""The TCP connection below a request: handlers may cut it, or notice that it is gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol


class CuttableProtocol(H11Protocol):
    """Puts its transport into the request's state: ASGI itself has no way to hang up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Cut(Response):
    """No answer at all: the connection closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del send
        transport(scope).abort()
        await gone(receive)


def transport(scope: Scope) -> asyncio.Transport:
    found = scope["state"]["transport"]
    assert isinstance(found, asyncio.Transport), "served by CuttableProtocol"
    return found


async def gone(receive: Receive) -> None:
    """Return once the client, or the server, closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, object]) -> None:
    """Wait for `work`, or for the end of the connection, which ends `work`."""
    waits = {asyncio.create_task(work), asyncio.create_task(gone(request.receive))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)
