"""Deliveries begin one in a few passes of the event loop; everybody else when they come."""

import asyncio
import itertools

import pytest
from starlette.types import Receive, Scope, Send

from service.web.turns import DELIVERIES, PASSES_A_TURN, DeliveriesInTurn

MANY = 50


class Began:
    """An application that notes what it is asked, and in which pass of the loop."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []
        self.passes = 0
        self._counting = asyncio.get_running_loop().call_soon(self._count)

    def _count(self) -> None:
        self.passes += 1
        self._counting = asyncio.get_running_loop().call_soon(self._count)

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.told.append((self.passes, scope["path"]))

    def close(self) -> None:
        self._counting.cancel()


async def receive() -> dict[str, object]:
    return {"type": "http.disconnect"}


async def send(_: object) -> None:
    """Nobody listens."""


async def ask(app: DeliveriesInTurn, path: str) -> None:
    await app({"type": "http", "path": path}, receive, send)


def asked(app: DeliveriesInTurn, path: str) -> asyncio.Task[None]:
    return asyncio.create_task(ask(app, path))


async def test_a_turn_begins_one_delivery_and_a_pass_all_of_the_rest() -> None:
    """F32: whoever reads waits for as many deliveries as passes, not as connections."""
    began = Began()
    app = DeliveriesInTurn(began)
    deliveries = [asked(app, f"{DELIVERIES}{each}") for each in range(MANY)]
    reads = [asked(app, f"/health/live/{each}") for each in range(MANY)]
    await asyncio.gather(*reads)
    passes = {where for where, path in began.told if path.startswith("/health")}
    assert len(passes) == 1, "no read waits for a turn"
    await asyncio.gather(*deliveries)
    begun = [(where, path) for where, path in began.told if path.startswith(DELIVERIES)]
    assert [path for _, path in begun] == [f"{DELIVERIES}{each}" for each in range(MANY)]
    at = [where for where, _ in begun]
    assert min(after - before for before, after in itertools.pairwise(at)) == PASSES_A_TURN
    began.close()


async def test_a_delivery_alone_waits_for_nobody() -> None:
    began = Began()
    app = DeliveriesInTurn(began)
    for each in range(3):
        before = began.passes
        await ask(app, f"{DELIVERIES}{each}")
        assert began.told[-1][0] == before
        for _ in range(PASSES_A_TURN + 1):
            await asyncio.sleep(0)
    began.close()


@pytest.mark.parametrize("gone", [0, 1, MANY // 2, MANY - 2])
async def test_one_that_is_given_up_holds_no_turn(gone: int) -> None:
    began = Began()
    app = DeliveriesInTurn(began)
    deliveries = [asked(app, f"{DELIVERIES}{each}") for each in range(MANY)]
    await asyncio.sleep(0)
    deliveries[1 + gone].cancel()
    async with asyncio.timeout(60):
        told = await asyncio.gather(*deliveries, return_exceptions=True)
    assert [type(each) for each in told].count(asyncio.CancelledError) == 1
    assert len(began.told) == MANY - 1
    began.close()
