"""The database wrapper: error classes, retries, and that nothing breaks the calls after it."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from service.adapters.migrate import find_migrations, migrate
from service.adapters.surreal import Database, DatabaseSettings
from service.adapters.surreal_connection import _select
from service.adapters.surreal_errors import (
    AlreadyExists,
    Conflict,
    Rejected,
    SessionLost,
    Thrown,
    Unavailable,
    classify,
    unpack,
)
from service.domain.errors import ServiceError, Transient
from tests.store.bench import until

pytestmark = pytest.mark.overlapping  # the wrapper's locks and drivers differ from engine to engine

ECHO = "The query was not executed due to a failed transaction"

CLASSES: list[tuple[str, type[ServiceError]]] = [
    # conflicts: 2.3.10, 3.0.2, 3.2.4, TiKV (facts/surrealdb.md, 1.2 and 1.3)
    (f"{ECHO}. Failed to commit transaction due to a read or write conflict", Conflict),
    (f"{ECHO}. This transaction can be retried", Conflict),
    ("Transaction conflict: Resource busy: . This transaction can be retried", Conflict),
    ("Query not executed: Transaction conflict: Resource busy: . ", Conflict),
    (
        "There was a problem with the key-value store: Transaction conflict: Write conflict",
        Conflict,
    ),
    ("Cannot COMMIT: Transaction conflict: Write conflict", Conflict),
    ("Multiple key errors: [KeyError { conflict: Some(WriteConflict) }]", Conflict),
    ("IO error: Operation failed. Try again.: TryAgain", Conflict),
    ("Database record `inbox:a` already exists", AlreadyExists),
    ("Database index `u` already contains 'x', with record `a:b`", AlreadyExists),
    ("An error occurred: account_out_of_balance", Thrown),
    ("The session has expired", SessionLost),
    ("The token has expired", SessionLost),
    ("Not enough permissions: Anonymous access not allowed", SessionLost),
    ("Session not found", SessionLost),
    ("Found NONE for field `email`, with record `account:a`, but expected a string", Rejected),
    ("Parse error: Unexpected token", Rejected),
    ("The table 'video_job' does not exist", Rejected),
    (ECHO, Rejected),
]


def only_connection(database: Database) -> Any:
    """The one connection of an embedded engine. A server has a pool of them to look into."""
    if len(database._connections) > 1:
        pytest.skip("looks inside the single connection of an embedded engine")
    return database._connections[0]


@pytest.mark.parametrize(("message", "expected"), CLASSES)
def test_an_engines_words_mean_what_the_caller_may_do(
    message: str, expected: type[ServiceError]
) -> None:
    error = classify(message)
    assert type(error) is expected
    assert str(error) in message


def test_a_servers_own_kinds_are_believed() -> None:
    conflict = classify("whatever", "Query", {"kind": "TransactionConflict"})
    assert type(conflict) is Conflict
    assert type(classify("whatever", "AlreadyExists")) is AlreadyExists
    assert type(classify("whatever", "Internal", {"kind": "NotExecuted"})) is Rejected


def test_a_thrown_text_comes_without_the_engines_words() -> None:
    assert str(classify("An error occurred: insufficient_credit")) == "insufficient_credit"


@pytest.mark.parametrize("error", [Unavailable, Conflict, SessionLost])
def test_what_time_may_heal_is_transient(error: type[ServiceError]) -> None:
    assert issubclass(error, Transient)


@pytest.mark.parametrize("error", [AlreadyExists, Thrown, Rejected])
def test_what_time_does_not_heal_is_not_transient(error: type[ServiceError]) -> None:
    assert not issubclass(error, Transient)


def ok(value: Any) -> dict[str, Any]:
    return {"status": "OK", "result": value}


def bad(message: str, **more: Any) -> dict[str, Any]:
    return {"status": "ERR", "result": message, **more}


def test_every_statements_result_is_unpacked() -> None:
    assert unpack({"result": [ok(1), ok(None), ok([2])]}) == [1, None, [2]]


@pytest.mark.parametrize(
    ("response", "error", "text"),
    [
        ({"error": {"message": "Parse error"}}, Rejected, "Parse error"),
        ({"error": {"message": "x", "kind": "AlreadyExists"}}, AlreadyExists, "x"),
        ({"result": [ok(1), bad("An error occurred: late")]}, Thrown, "late"),
        ({"result": [bad(ECHO), bad("An error occurred: why"), bad(ECHO)]}, Thrown, "why"),
        (
            {"result": [bad("Cannot COMMIT: the transaction was aborted"), bad("cause")]},
            Rejected,
            "cause",
        ),
        ({"result": [bad(ECHO), bad(ECHO)]}, Rejected, ECHO),
        (
            {"result": [bad("x", details={"kind": "TransactionConflict"})]},
            Conflict,
            "x",
        ),
    ],
)
def test_a_failure_is_told_by_its_cause_and_never_by_its_echo(
    response: dict[str, Any], error: type[ServiceError], text: str
) -> None:
    with pytest.raises(error) as raised:
        unpack(response)
    assert type(raised.value) is error
    assert str(raised.value) == text


# --------------------------------------------------------------------------- on a real engine


async def test_a_later_statements_failure_is_not_hidden_by_an_earlier_ones_success(
    empty: Database,
) -> None:
    with pytest.raises(Thrown, match="boom"):
        await empty.script("RETURN 1; THROW 'boom'; RETURN 2")


async def test_a_thrown_block_changes_nothing(empty: Database) -> None:
    await empty.script("DEFINE TABLE item")
    with pytest.raises(Thrown, match=r"^boom$"):
        await empty.write("{ CREATE item:1; THROW 'boom'; }")
    assert await empty.read("SELECT * FROM item") == []


async def test_a_taken_id_is_already_exists(empty: Database) -> None:
    await empty.write("CREATE item:1")
    with pytest.raises(AlreadyExists):
        await empty.write("CREATE item:1")


async def test_a_statement_that_makes_no_sense_is_rejected(empty: Database) -> None:
    with pytest.raises(Rejected):
        await empty.read("SELEKT 1")
    assert await empty.read("RETURN 1") == 1


@pytest.mark.parametrize("value", [2**70, -(2**70), object()], ids=["huge", "tiny", "object"])
async def test_a_parameter_that_cannot_be_encoded_is_rejected_and_harms_no_other_call(
    empty: Database, value: object
) -> None:
    neighbours = [empty.read("RETURN $n", n=number) for number in range(8)]
    results = await asyncio.gather(
        *neighbours[:4], empty.read("RETURN $v", v=value), *neighbours[4:], return_exceptions=True
    )
    assert isinstance(results.pop(4), Rejected)
    assert results == list(range(8))
    assert await empty.write("RETURN 1") == 1


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


async def test_a_closed_database_can_be_closed_again(empty: Database) -> None:
    await empty.close()
    await empty.close()


async def test_a_cancelled_opening_does_not_keep_the_directory(folder: Path) -> None:
    settings = DatabaseSettings(url=f"surrealkv://{folder / 'db'}", namespace="n", database="d")
    for steps in (1, 2, 3, 5, 8):
        database = Database(settings)
        opening = asyncio.create_task(database.open())
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await database.close()
    after = Database(settings)
    assert await after.write("RETURN 1") == 1
    await after.close()


# ------------------------------------------------------------------------ with real processes

HOLD = """
import asyncio, sys
from service.adapters.surreal import Database, DatabaseSettings
async def main():
    database = Database(DatabaseSettings(url=sys.argv[1], namespace="n", database="d"))
    await database.write("CREATE item SET at = time::now()")
    print("held", flush=True)
    sys.stdin.read()
    await database.close()
asyncio.run(main())
"""
AT_ONCE = 10


async def start(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HOLD,
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_directory_that_another_process_holds_is_unavailable_and_says_so(
    folder: Path,
) -> None:
    url = f"surrealkv://{folder / 'db'}"
    holder = await start(url)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    database = Database(DatabaseSettings(url=url, namespace="n", database="d"))
    with pytest.raises(Unavailable, match="locked"):
        await database.open()
    await holder.communicate(b"")
    assert holder.returncode == 0

    async def look() -> int | None:
        try:
            found: int = await database.read("RETURN count(SELECT VALUE id FROM item)")
        except Unavailable:  # it remembers the failure for a moment
            return None
        return found

    assert await until(look) == 1
    await database.close()


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.long)])
async def test_short_processes_that_write_and_close_exit_in_order(folder: Path, count: int) -> None:
    """An engine that is not given its rest aborts its process in up to one of ten exits."""

    async def run(number: int) -> tuple[int | None, bytes, bytes]:
        process = await start(f"surrealkv://{folder / str(number)}")
        out, err = await process.communicate(b"")
        return process.returncode, out, err

    for first in range(0, count, AT_ONCE):
        batch = range(first, min(first + AT_ONCE, count))
        ended = await asyncio.gather(*(run(number) for number in batch))
        assert ended == [(0, b"held\n", b"")] * len(batch)


async def test_what_was_written_is_there_after_closing_and_opening(folder: Path) -> None:
    settings = DatabaseSettings(url=f"surrealkv://{folder / 'db'}", namespace="n", database="d")
    first = Database(settings)
    await migrate(first, find_migrations(), report=lambda _: None)
    await first.write("CREATE item:1 SET n = 3")
    await first.close()
    second = Database(settings)
    assert await second.read("SELECT VALUE n FROM ONLY item:1") == 3
    assert await migrate(second, find_migrations(), report=lambda _: None) == 0
    await second.close()


class _Busy:
    """A connection whose engine is busy creating the database, so many times."""

    def __init__(self, times: int, said: str) -> None:
        self.left, self.said, self.asked = times, said, 0

    async def use(self, *_: str) -> None:
        self.asked += 1
        if self.left > 0:
            self.left -= 1
            raise RuntimeError(self.said)


async def test_a_database_that_others_create_at_this_moment_is_selected_all_the_same() -> None:
    """What RocksDB says, word for word, to the second process that names a new database."""
    settings = DatabaseSettings(url="ws://nobody", namespace="tests", database="new")
    busy = _Busy(3, "Transaction conflict: Resource busy: . This transaction can be retried")
    await _select(busy, settings)
    assert busy.asked == 4

    refused = _Busy(3, "IAM error: Not enough permissions to perform this action")
    with pytest.raises(RuntimeError, match="permissions"):
        await _select(refused, settings)
    assert refused.asked == 1
