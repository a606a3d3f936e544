"""Deliveries begin one at a time, so that a flood of them keeps nobody else waiting."""

import asyncio
from collections import deque
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

DELIVERIES: Final = "/api/fal/webhook/"
PASSES_A_TURN: Final = 3  # an empty one takes some 20 us; a read needs about five


class DeliveriesInTurn:
    """Lets one delivery begin in PASSES_A_TURN passes of the event loop; the others stand in line.

    An event loop runs all that is ready before it looks at its sockets again. Whoever else asks
    takes a few passes to be answered (the request, the database's word), and without turns each
    pass would first verify one delivery of every connection that brings some. The passes between
    two turns are the others' own; nobody waits in them for anything but work that is there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False  # the turn that runs now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(DELIVERIES):
            await self._turn()
        await self._app(scope, receive, send)

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._taken:
            self._taken = True
            loop.call_soon(self._pass, PASSES_A_TURN - 1)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _pass(self, left: int) -> None:
        """One pass is over; once all of a turn are, the next in line wakes."""
        if left > 0:
            asyncio.get_running_loop().call_soon(self._pass, left - 1)
            return
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was given up: the process stops
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._pass, PASSES_A_TURN - 1)
                return
        self._taken = False
