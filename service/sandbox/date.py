"""The Date of every answer: the clock of the stand-in's machine, which can be made wrong."""

import time
from email.utils import formatdate

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.sandbox.stage import Stage


class Dated:
    """In place of the server's own Date, which knows no other clock."""

    def __init__(self, app: ASGIApp, shared: Stage) -> None:
        self._app = app
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                now_s = time.time() + self._shared.clock_ahead_s
                MutableHeaders(scope=message)["Date"] = formatdate(now_s, usegmt=True)
            await send(message)

        await self._app(scope, receive, dated)
