"""What a request may be before anybody reads it: how large its head, how often an order.

Money is not guarded here. How many videos of an account are unfinished is limited where they are
reserved, exactly and for all processes together (MAX_IN_FLIGHT); this keeps one account from
making a process decode images all day. Each process counts for itself.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.domain.errors import TooOften
from service.web.problems import problem

MAX_HEAD_BYTES: Final = 16 * 1024  # the request line and all headers
PERIOD_S: Final = 60.0
MAX_ACCOUNTS: Final = 10_000  # remembered; one that has been quiet longest is forgotten first


class OrderRate:
    """At most `limit` orders of one account in any minute, evenly or all at once.

    One number per account: until when the orders so far last at the even rate (GCRA).
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._apart_s = PERIOD_S / limit
        self._clock = clock
        self._spent_until: OrderedDict[str, float] = OrderedDict()

    def take(self, account: str) -> None:
        """Count one order. Raises TooOften, which says when the next one may come."""
        now = self._clock()
        spent_until = max(self._spent_until.pop(account, now), now) + self._apart_s
        wait_s = spent_until - now - PERIOD_S
        # Rounding must not refuse the last of a full burst.
        refused = wait_s > self._apart_s / 1000
        self._spent_until[account] = spent_until - self._apart_s if refused else spent_until
        if len(self._spent_until) > MAX_ACCOUNTS:
            self._spent_until.popitem(last=False)
        if refused:
            raise TooOften("that is too many orders in a minute", retry_after_s=math.ceil(wait_s))


class BoundedHead:
    """Refuses a request whose head is over MAX_HEAD_BYTES with 431.

    The parser bounds only what has not arrived whole: a large head that comes at once passes it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _head_bytes(scope) > MAX_HEAD_BYTES:
            detail = f"The request's head is larger than {MAX_HEAD_BYTES} bytes."
            answer = problem(431, "head_too_large", detail, headers={"Connection": "close"})
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _head_bytes(scope: Scope) -> int:
    head: int = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    return head + sum(len(name) + len(value) for name, value in scope["headers"])
