"""Holds streams open, in a process of its own: URL, then `token job_id` pairs on standard input.

Says `open` once each has told its first event, and holds them until standard input is closed.
"""

import asyncio
import sys
from urllib.parse import urlsplit


async def hold(host: str, port: int, token: str, job_id: str, begun: asyncio.Semaphore) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        f"GET /api/templates/video/events?jobId={job_id} HTTP/1.1\r\n"
        f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    await reader.readuntil(b"data: ")
    begun.release()
    while await reader.read(65536):
        pass
    raise ConnectionError("a stream has ended")


async def main() -> None:
    url = urlsplit(sys.stdin.readline().strip())
    count = int(sys.stdin.readline())
    pairs = [sys.stdin.readline().split() for _ in range(count)]
    assert url.hostname
    assert url.port
    begun = asyncio.Semaphore(0)
    held = [
        asyncio.create_task(hold(url.hostname, url.port, token, job_id, begun))
        for token, job_id in pairs
    ]
    for _ in held:
        await begun.acquire()
    sys.stdout.write("open\n")
    sys.stdout.flush()
    closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([*held, closed], return_when=asyncio.FIRST_COMPLETED)
    broken = [each for each in held if each.done()]
    sys.exit(f"{len(broken)} streams ended" if broken else 0)


if __name__ == "__main__":
    asyncio.run(main())
