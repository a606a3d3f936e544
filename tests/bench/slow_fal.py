"""fal at a distance: `python -m tests.bench.slow_fal PORT TARGET_PORT SECONDS`.

Passes bytes on to a stand-in for fal and holds back what asks for a status for so long, as the
way to the real one does. It reads no more of a request than its first line, which costs the
readers next to nothing.
"""

import asyncio
import contextlib
import sys
from functools import partial
from typing import Final

HOST: Final = "127.0.0.1"
READ: Final = 65_536
BACKLOG: Final = 1024


async def serve(port: int, target: int, hold_s: float) -> None:
    """Until cancelled."""
    passing = partial(_connection, target=target, hold_s=hold_s)
    server = await asyncio.start_server(passing, HOST, port, backlog=BACKLOG)
    async with server:
        await server.serve_forever()


async def _connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, target: int, hold_s: float
) -> None:
    far_reader, far_writer = await asyncio.open_connection(HOST, target)
    try:
        async with asyncio.TaskGroup() as both:
            back = both.create_task(_pass(far_reader, writer))
            await _pass(reader, far_writer, hold_s)
            back.cancel()
    finally:
        writer.close()
        far_writer.close()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hold_s: float = 0
) -> None:
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(READ):
            if hold_s and _asks_for_status(some):
                await asyncio.sleep(hold_s)
            writer.write(some)
            await writer.drain()


def _asks_for_status(some: bytes) -> bool:
    """A GET has no body, so that a client which waits for answers sends it in one piece."""
    first = some.partition(b"\r\n")[0]
    return first.startswith(b"GET ") and b"/status" in first


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
