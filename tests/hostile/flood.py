"""Run as a program: floods a web process with garbage deliveries for some seconds.

Reads JSON from standard input: {url, token, seconds, lines}. Says `flooding` once it has begun;
ends after its time and prints how many answers there were, by kind and status.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

STATUS_AT = slice(9, 12)  # "HTTP/1.1 401"
HEX = "ab" * 64


def request(host: str, token: str, body: bytes, *, signed: bool) -> bytes:
    named = (
        f"x-fal-webhook-request-id: r\r\nx-fal-webhook-user-id: sandbox-1234\r\n"
        f"x-fal-webhook-timestamp: {int(time.time())}\r\nx-fal-webhook-signature: {HEX}\r\n"
    )
    head = (
        f"POST /api/fal/webhook/{token} HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Length: {len(body)}\r\n{named if signed else ''}\r\n"
    )
    return head.encode() + body


async def ask_on(
    address: tuple[str, int], make: Callable[[], bytes], until: float, told: Counter[str], kind: str
) -> None:
    """One connection after another, each used for as long as it is kept open."""
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection(*address)
        try:
            while time.monotonic() < until:
                writer.write(make())
                head = await reader.readuntil(b"\r\n\r\n")
                told[f"{kind} {head[STATUS_AT].decode()}"] += 1
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                if b"connection: close" in head.lower():
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            told[f"{kind} closed"] += 1
        finally:
            writer.transport.abort()


async def dribble(address: tuple[str, int], head: bytes, until: float, told: Counter[str]) -> None:
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(head)
            while time.monotonic() < until and not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.2)
            told["slow"] += 1
        except ConnectionError:
            told["slow closed"] += 1
        finally:
            writer.transport.abort()


async def main(plan: dict[str, Any]) -> None:
    url = urlsplit(plan["url"])
    address, host = (str(url.hostname), int(url.port or 80)), url.netloc
    until, told = time.monotonic() + plan["seconds"], Counter[str]()
    token = plan["token"]
    unknown = request(host, "v-none.1." + "A" * 43, b"{}", signed=False)
    bad = request(host, token, b'{"status": "OK"}', signed=True)
    huge = request(host, token + "x", b"x" * 300_000, signed=True)
    slow = f"POST /api/fal/webhook/{token} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 900\r\n\r\n"
    kinds = {"unknown token": unknown, "bad signature": bad, "huge body": huge}
    work = [
        asyncio.create_task(ask_on(address, lambda made=made: made, until, told, kind))  # type: ignore[misc]
        for kind, made in kinds.items()
        for _ in range(plan["lines"] if kind != "huge body" else 2)
    ]
    work += [
        asyncio.create_task(dribble(address, slow.encode(), until, told))
        for _ in range(plan["lines"])
    ]
    sys.stdout.write("flooding\n")
    sys.stdout.flush()
    await asyncio.gather(*work)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.read())))
