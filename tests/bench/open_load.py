"""Run as a program: an open load, which sends at fixed instants whatever has been answered.

Reads JSON from standard input: {address: [host, port], rate, seconds, requests: FILE, lines,
patience_s}. Ends when all is answered, or so long after the last request, and prints {sent,
statuses, unanswered, latencies, took_s}. A latency counts from the instant at which its request
was due, so that a server that stands still is charged with everybody who would have come.

`lines` bounds the connections; what is due while all are busy waits, on the server's account.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any, Final

from tests.bench.deliveries import read_requests

STATUS_AT: Final = slice(9, 12)  # "HTTP/1.1 200"
_END: Final = b"\r\n\r\n"


class Line(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._due_at: float | None = None
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._load.is_free(self)

    def send(self, due_at: float, request: bytes) -> None:
        self._due_at, self._got = due_at, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(_END)
        if not found or len(body) < _length(head) or self._due_at is None:
            return
        due_at, self._due_at = self._due_at, None
        self._load.answered(due_at, head[STATUS_AT].decode())
        if b"connection: close" not in head.lower():
            self._load.is_free(self)

    def connection_lost(self, _: Exception | None) -> None:
        due_at, self._due_at = self._due_at, None
        self._load.is_gone(self, due_at)


class Load:
    """Those that are due, the free connections, and what became of the others."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._address: tuple[str, int] = tuple(plan["address"])
        self._free: list[Line] = []
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._room = int(plan["lines"])
        self._opening: set[asyncio.Task[None]] = set()
        self.sent = 0
        self.took_s = 0.0
        self.latencies: list[float] = []
        self.statuses = Counter[str]()
        self._changed = asyncio.Event()

    def due(self, at: float, request: bytes) -> None:
        self.sent += 1
        if self._free:
            self._free.pop().send(at, request)
            return
        self._waiting.append((at, request))
        if len(self._opening) < len(self._waiting) and self._room:
            self.open()

    def open(self) -> None:
        self._room -= 1
        task = asyncio.create_task(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def opened(self) -> None:
        """Return once every connection that was begun is there, or refused."""
        await asyncio.gather(*self._opening)

    async def _open(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Line(self), *self._address)
        except OSError:
            self._room += 1

    def is_free(self, line: Line) -> None:
        if self._waiting:
            line.send(*self._waiting.popleft())
        else:
            self._free.append(line)

    def is_gone(self, line: Line, due_at: float | None) -> None:
        self._room += 1
        with contextlib.suppress(ValueError):
            self._free.remove(line)
        if due_at is not None:
            self.answered(due_at, "closed")
        if self._waiting:
            self.open()

    def answered(self, due_at: float, status: str) -> None:
        self.latencies.append(time.perf_counter() - due_at)
        self.statuses[status] += 1
        self._changed.set()

    async def all_answered(self, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while self.unanswered:
                self._changed.clear()
                await self._changed.wait()

    @property
    def unanswered(self) -> int:
        return self.sent - len(self.latencies)


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)


async def run(plan: dict[str, Any]) -> Load:
    load, requests = Load(plan), itertools.cycle(read_requests(Path(plan["requests"])))
    for _ in range(min(4, plan["lines"])):
        load.open()
    await load.opened()
    began, apart_s = time.perf_counter(), 1 / plan["rate"]
    for number in range(round(plan["rate"] * plan["seconds"])):
        at = began + number * apart_s
        # One that is late is sent at once, together with all that are due by now.
        if (left_s := at - time.perf_counter()) > 0:
            await asyncio.sleep(left_s)
        elif number % 16 == 0:
            await asyncio.sleep(0)
        load.due(at, next(requests))
    with contextlib.suppress(TimeoutError):
        await load.all_answered(plan["patience_s"])
    load.took_s = time.perf_counter() - began
    return load


def main() -> None:
    plan = json.loads(sys.stdin.read())
    load = asyncio.run(run(plan))
    told = {
        "sent": load.sent,
        "statuses": load.statuses,
        "unanswered": load.unanswered,
        "latencies": load.latencies,
        "took_s": load.took_s,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
