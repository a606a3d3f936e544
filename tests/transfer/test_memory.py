"""Memory is measured where nothing else grows: transfer and store each in their own process."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.transfer.samples import MIB, big_mp4
from tests.transfer.servers import Exchange, FaultCdn

STORE = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.disable()
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
PARTS_IN_FLIGHT = 3 * 5 * MIB
OVERHEAD = 24 * MIB  # socket buffers, a part being cut, the allocator's slack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def endpoint() -> AsyncIterator[str]:
    store = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STORE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert store.stdout is not None
    url = f"http://127.0.0.1:{int(await store.stdout.readline())}"
    async with httpx.AsyncClient(trust_env=False) as client:
        (await client.put(f"{url}/videos")).raise_for_status()
    yield url
    store.kill()
    await store.communicate()


@pytest.mark.parametrize(
    "mib",
    [
        # Half as much again as the bound, so that holding all of it would show.
        pytest.param(72, id="72 MiB"),
        pytest.param(5, id="5 MiB", marks=pytest.mark.long),
        pytest.param(400, id="400 MiB", marks=pytest.mark.long),
    ],
)
async def test_a_transfer_holds_a_few_parts_whatever_the_size(
    cdn: FaultCdn, endpoint: str, mib: int
) -> None:
    size = mib * MIB
    sha256 = hashlib.sha256()

    async def serve(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": size})
        for piece in big_mp4(size):
            sha256.update(piece)
            await exchange.send(piece)

    transfer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.transfer.measure", cdn.url(serve), endpoint, "videos"),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await transfer.communicate()
    measured = json.loads(told)
    sys.stdout.write(f"{mib} MiB: {measured}\n")  # for -s
    assert (measured["size"], measured["sha256"]) == (size, sha256.hexdigest())
    assert 0 < measured["growth_kib"] * 1024 < PARTS_IN_FLIGHT + OVERHEAD
