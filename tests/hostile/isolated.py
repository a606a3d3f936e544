"""Run as a program, in a network of its own that leads nowhere: refusals come before any packet.

Prints JSON: how many addresses were refused, and what a public one came to.
"""

import asyncio
import json
import sys
from itertools import product

import httpcore

from service.adapters.outbound import GuardedBackend, OutboundPolicy
from service.domain.errors import SourceRefused
from tests.transfer.test_outbound import PRIVATE, Dns

PUBLIC = "8.8.8.8"


async def reached(policy: OutboundPolicy, address: str) -> str:
    backend = GuardedBackend(policy, Dns([address]))  # with the real connector under it
    try:
        await backend.connect_tcp("v3.fal.media", 443, timeout=5)
    except SourceRefused:
        return "refused"
    except httpcore.ConnectError as error:
        return f"tried: {error}"
    return "connected"


async def main() -> None:
    hosts = ("fal.media",)
    policies = [
        OutboundPolicy(allowed_hosts=hosts),
        OutboundPolicy(allowed_hosts=hosts, development=True),
    ]
    loopback = {"127.0.0.1", "127.8.8.8", "::1"}
    told = [
        await reached(policy, address)
        for policy, address in product(policies, PRIVATE)
        if not (policy.development and address in loopback)
    ]
    public = await reached(policies[0], PUBLIC)
    sys.stdout.write(json.dumps({"private": told, "public": public}))


if __name__ == "__main__":
    asyncio.run(main())
