"""What the engine's words and results mean, and that nothing of a failed call stays."""

import asyncio
from typing import Any

import pytest

from service.adapters.surreal import Database
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

pytestmark = pytest.mark.overlapping  # the wrapper's locks and drivers differ from engine to engine


ECHO = "The query was not executed due to a failed transaction"

CLASSES: list[tuple[str, type[ServiceError]]] = [
    # conflicts: 2.3.10, 3.0.2, 3.2.4, TiKV, each in its own words
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
