"""Sends the canary: one delivery to ourselves, by the address and in the way that fal uses.

fal waits 15 s, follows no redirect and never tries again after one, and signs the very bytes it
sends. So every answer but our own, sealed one is a delivery that would have been lost.
"""

import asyncio
import json
import secrets
import socket
import time
from typing import Final
from urllib.parse import urlsplit

import httpx

from service.doctor.canary_answers import PATIENCE_S, Load, Reply, Way, judge, no_answer
from service.domain import canary
from service.domain.canary import Finding, Outcome

CONNECT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024  # ours has less than one kilobyte
SPARE_BYTES: Final = 1024  # the large body is smaller than the limit by this


def small_loads() -> list[Load]:
    """A body such as fal's, by both forms of the path."""
    # What a proxy that reads JSON and writes it anew does not leave as it was.
    words = {"payload": {"name": "\\/ä", "none": None, "seed": 2**63}, "status": "OK"}
    body = json.dumps(words, sort_keys=True).encode() + b" \n"
    return [
        Load(what="a delivery", body=body, headers=_headers()),
        Load(what="a path with a slash at its end", body=body, headers=_headers(), slash=True),
    ]


def all_loads(max_bytes: int) -> list[Load]:
    """The small ones, every value that a byte can have, and nearly as much as is taken."""
    large = b'"%s"' % (b"x" * (max_bytes - SPARE_BYTES))
    return [
        *small_loads(),
        Load(what="a body of all byte values", body=bytes(range(256)), headers=_headers()),
        Load(what=f"a body of {len(large)} bytes", body=large, headers=_headers()),
    ]


async def fly(way: Way, loads: list[Load]) -> Finding:
    """Send the loads one by one until one does not arrive as it was sent; what came of it."""
    if not await _resolves(way):
        return Finding(
            outcome=Outcome.UNKNOWN,
            seen=f"the name {way.host} does not resolve",
            fix="make a DNS record for it, or correct PUBLIC_BASE_URL",
        )
    slowest_s, notes = 0.0, []
    async with httpx.AsyncClient(
        verify=way.tls,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(PATIENCE_S, connect=CONNECT_S),
        headers={"User-Agent": "fal-video-canary"},
    ) as client:
        for load in loads:
            began = time.monotonic()
            finding = await _send(client, way, load)
            if finding.outcome is not Outcome.PASSED:
                return finding
            slowest_s = max(slowest_s, time.monotonic() - began)
            notes += [finding.seen] if finding.seen else []
    arrived = f"{len(loads)} of {len(loads)} arrived unchanged, the slowest in {slowest_s:.2f} s"
    return Finding(outcome=Outcome.PASSED, seen="; ".join([f"{way.host}: {arrived}", *notes]))


async def _resolves(way: Way) -> bool:
    parts = urlsplit(way.base_url)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S):
            await loop.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # TimeoutError is one
        return False
    return True


async def _send(client: httpx.AsyncClient, way: Way, load: Load) -> Finding:
    token = canary.mint(way.seal_key, secrets.token_hex(16), time.time())
    url = f"{way.base_url}/api/fal/webhook/{token}{'/' if load.slash else ''}"
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            client.stream("POST", url, content=load.body, headers=load.headers) as response,
        ):
            reply = Reply(response.status_code, response.headers, await _body(response))
    except (httpx.HTTPError, TimeoutError) as error:
        return no_answer(way, load, error)
    return judge(way, token, load, reply)


async def _body(response: httpx.Response) -> bytes:
    """The answer's body, as much of it as one of ours may have."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            break
    return body


def _headers() -> dict[str, str]:
    """fal's, as to their names and their values' form."""
    return {
        "content-type": "application/json",
        "x-fal-webhook-request-id": secrets.token_hex(16),
        "x-fal-webhook-user-id": "canary|fal-video",
        "x-fal-webhook-timestamp": str(int(time.time())),
        "x-fal-webhook-signature": secrets.token_hex(64),
    }
