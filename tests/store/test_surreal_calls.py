"""Calls that meet others, are lost, or are cancelled: on each engine."""

import asyncio
from typing import Any

import pytest

from service.adapters.surreal import Database, DatabaseSettings
from service.adapters.surreal_errors import (
    AlreadyExists,
    Rejected,
    Thrown,
    Unavailable,
)
from service.domain.errors import ServiceError

pytestmark = pytest.mark.overlapping  # the wrapper's locks and drivers differ from engine to engine


def only_connection(database: Database) -> Any:
    """The one connection of an embedded engine. A server has a pool of them to look into."""
    if len(database._connections) > 1:
        pytest.skip("looks inside the single connection of an embedded engine")
    return database._connections[0]


async def test_writers_of_one_row_at_once_lose_nothing(empty: Database) -> None:
    await empty.write("CREATE counter:one SET n = 0")
    before = empty.calls
    await asyncio.gather(*(empty.write("UPDATE counter:one SET n += 1") for _ in range(100)))
    assert await empty.read("SELECT VALUE n FROM ONLY counter:one") == 100
    assert empty.calls >= before + 101


class Sdk:
    """The SDK's connection with a hand on it: counts its calls, loses answers, holds calls up."""

    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk
        self.calls = self.running = 0
        self.failures: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()

    async def _send(self, message: Any, process: str, *, bypass: bool) -> Any:
        self.calls += 1
        self.running += 1
        try:
            await self.open.wait()
            answer = await self._sdk._send(message, process, bypass=bypass)
        finally:
            self.running -= 1
        if self.failures:
            raise self.failures.pop(0)
        return answer

    async def close(self) -> None:
        await self._sdk.close()


def seize(database: Database) -> Sdk:
    connection = only_connection(database)
    connection._sdk = sdk = Sdk(connection._sdk)
    return sdk


async def let_others_run() -> None:
    """Let every task that can go on without the engine do so."""
    for _ in range(20):
        await asyncio.sleep(0)


CONFLICT = RuntimeError("Transaction conflict: Write conflict. This transaction can be retried")


async def test_a_conflict_is_retried_even_if_the_statement_may_not_be_repeated(
    empty: Database,
) -> None:
    sdk = seize(empty)
    sdk.failures = [CONFLICT] * 5
    assert await empty.write("RETURN 7", repeatable=False) == 7
    assert (sdk.calls, empty.calls) == (6, 6)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("An error occurred: no", Thrown),
        ("Database record `a:b` already exists", AlreadyExists),
        ("Parse error", Rejected),
    ],
)
async def test_what_another_try_cannot_mend_is_tried_once(
    empty: Database, message: str, error: type[ServiceError]
) -> None:
    sdk = seize(empty)
    sdk.failures = [RuntimeError(message)] * 2
    with pytest.raises(error):
        await empty.write("RETURN 1")
    assert sdk.calls == 1


class Lossy(Database):
    """A database whose answers are lost after the statement was applied."""

    def __init__(self, settings: DatabaseSettings, losses: int) -> None:
        super().__init__(settings)
        connection = only_connection(self)
        answer, left = connection.call, [True] * losses

        async def call(statement: str, params: Any, timeout_s: float | None = 10) -> list[Any]:
            results: list[Any] = await answer(statement, params, timeout_s)
            if left:
                left.pop()
                raise Unavailable("the answer was lost")
            return results

        connection.call = call


@pytest.mark.parametrize(
    ("losses", "repeatable", "applied", "raised"),
    [(1, True, 2, False), (3, True, 4, False), (4, True, 4, True), (1, False, 1, True)],
)
async def test_a_lost_answer_is_asked_for_again_only_where_a_repeat_is_harmless(
    losses: int,
    repeatable: bool,  # noqa: FBT001 - a parameter of the test
    applied: int,
    raised: bool,  # noqa: FBT001
) -> None:
    database = Lossy(DatabaseSettings(url="mem://", namespace="n", database="d"), losses)
    statement = "UPSERT counter:one SET n = (n ?? 0) + 1"
    if raised:
        with pytest.raises(Unavailable):
            await database.write(statement, repeatable=repeatable)
    else:
        await database.write(statement, repeatable=repeatable)
    assert await database.read("SELECT VALUE n FROM ONLY counter:one") == applied
    await database.close()


async def test_cancelled_callers_do_not_break_the_calls_after_them(empty: Database) -> None:
    await empty.write("CREATE counter:one SET n = 0")
    calls = [asyncio.create_task(empty.write("UPDATE counter:one SET n += 1")) for _ in range(30)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    async with asyncio.timeout(5):
        count = await empty.read("SELECT VALUE n FROM ONLY counter:one")
    assert sum(not isinstance(each, BaseException) for each in ended) == 15
    assert 15 <= count <= 30


async def test_the_next_write_waits_for_the_write_of_a_cancelled_caller(empty: Database) -> None:
    """Overlapping writes lose updates on mem, so the lock must outlive the caller who left."""
    sdk = seize(empty)
    sdk.open.clear()
    first = asyncio.create_task(empty.write("UPSERT counter:one SET n = (n ?? 0) + 1"))
    await let_others_run()
    assert sdk.running == 1
    first.cancel()
    second = asyncio.create_task(empty.write("UPSERT counter:one SET n = (n ?? 0) + 1"))
    await let_others_run()
    at_once = sdk.running
    sdk.open.set()
    await asyncio.gather(first, second, return_exceptions=True)
    assert at_once == 1, "two writes overlapped"


async def test_reads_do_not_wait_for_a_write(empty: Database) -> None:
    sdk = seize(empty)
    sdk.open.clear()
    calls = [
        asyncio.create_task(each) for each in (empty.write("RETURN 1"), empty.read("RETURN 2"))
    ]
    await let_others_run()
    assert sdk.running == 2
    sdk.open.set()
    assert await asyncio.gather(*calls) == [1, 2]
