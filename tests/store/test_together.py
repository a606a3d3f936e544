"""What arrives together is written together: fewer commits, and the same word to each."""

import asyncio
from collections.abc import Sequence

import pytest

from service.adapters.store import SurrealStore
from service.adapters.store.batches import AT_MOST, AT_ONCE
from service.adapters.store.together import AT_MOST_BYTES, Fact, Row, Together
from service.adapters.surreal_errors import AlreadyExists, Rejected, Unavailable
from tests.store.bench import LONG_S, delivery
from tests.store.test_inbox import rows

MANY = 100
WAIT_S = 60


class Table:
    """Rows that are written when `gate` opens: all of a call's or none."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.busy = asyncio.Semaphore(0)  # one for each call
        self.calls: list[list[str]] = []
        self.finds = 0
        self.rows: set[str] = set()
        self.refused: set[str] = set()
        self.lost: set[str] = set()

    async def find(self, rows: Sequence[Row]) -> list[str]:
        self.finds += 1
        return [each["id"] for each in rows if each["id"] in self.rows]

    async def write(self, rows: Sequence[Row]) -> None:
        ids = [each["id"] for each in rows]
        self.calls.append(ids)
        self.busy.release()
        await self.gate.wait()
        if self.lost & set(ids):
            raise Unavailable("no answer")
        if self.rows & set(ids):
            raise AlreadyExists("there is one")
        if self.refused & set(ids):
            raise Rejected("does not fit")
        self.rows |= set(ids)


def fact(name: object, size: int = 1) -> Fact:
    return Fact(id=str(name), row={"id": str(name)}, bytes=size)


async def recorded(together: Together, facts: Sequence[Fact]) -> list[object]:
    tasks = [asyncio.create_task(together.record(each)) for each in facts]
    async with asyncio.timeout(WAIT_S):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def behind_a_closed_gate(table: Table, facts: Sequence[Fact]) -> list[object]:
    """What comes of facts that all arrive while as many commits as may be are under way."""
    together = Together(table.write, table.find)
    table.gate.clear()
    first = []
    for at in range(AT_ONCE):
        first.append(asyncio.create_task(together.record(fact(f"first {at}"))))
        await table.busy.acquire()
    rest = asyncio.create_task(recorded(together, facts))
    for _ in range(3):  # their tasks have begun
        await asyncio.sleep(0)
    table.gate.set()
    async with asyncio.timeout(WAIT_S):
        assert await asyncio.gather(*first) == [True] * AT_ONCE
        return await rest


async def test_one_alone_is_written_at_once() -> None:
    table = Table()
    together = Together(table.write, table.find)
    for at in range(3):
        assert await together.record(fact(at))
    assert table.calls == [["0"], ["1"], ["2"]]


async def test_what_arrives_during_a_commit_goes_with_the_next() -> None:
    table = Table()
    told = await behind_a_closed_gate(table, [fact(at) for at in range(MANY)])
    assert told == [True] * MANY
    assert len(table.rows) == MANY + AT_ONCE
    assert [len(each) for each in table.calls[AT_ONCE:]] == [AT_MOST, AT_MOST, AT_MOST, 4]


async def test_a_commit_holds_no_more_than_so_many_bytes() -> None:
    table = Table()
    large = [fact(at, AT_MOST_BYTES // 2) for at in range(6)]
    assert await behind_a_closed_gate(table, large) == [True] * 6
    assert [len(each) for each in table.calls[AT_ONCE:]] == [2, 2, 2]


async def test_repeats_in_one_commit_are_one_row_that_the_first_created() -> None:
    table = Table()
    told = await behind_a_closed_gate(table, [fact("a"), fact("b"), fact("a"), fact("a")])
    assert told == [True, True, False, False]
    assert sorted(table.calls[-1]) == ["a", "b"]


async def test_one_that_was_there_before_holds_nobody_up() -> None:
    table = Table()
    old = [fact(f"old {at}") for at in range(10)]
    table.rows |= {each.id for each in old}
    told = await behind_a_closed_gate(table, [fact("a"), *old, fact("c"), old[0]])
    assert told == [True, *[False] * 10, True, False]
    assert table.rows >= {"a", "c"}
    assert (len(table.calls[AT_ONCE:]), table.finds) == (2, 1), "however many they are"


async def test_one_that_was_there_and_is_gone_again_is_written() -> None:
    """Old entries are let go of; what is told of them last counts."""
    table = Table()
    real = table.write
    told_once: list[bool] = []

    async def write(rows: Sequence[Row]) -> None:
        if len(rows) > 1 and not told_once:
            told_once.append(True)
            raise AlreadyExists("there was one")
        await real(rows)

    table.write = write  # type: ignore[method-assign]
    assert await behind_a_closed_gate(table, [fact("a"), fact("b")]) == [True, True]
    assert table.rows >= {"a", "b"}


async def test_one_that_is_refused_is_told_so_alone() -> None:
    table = Table()
    table.refused |= {"b"}
    a, b, c = await behind_a_closed_gate(table, [fact("a"), fact("b"), fact("c")])
    assert (a, c) == (True, True)
    assert isinstance(b, Rejected)
    assert "b" not in table.rows


async def test_an_answer_that_is_lost_is_lost_to_all_who_wait_for_it_and_to_no_others() -> None:
    table = Table()
    table.lost |= {"1"}
    told = await behind_a_closed_gate(table, [fact(at) for at in range(AT_MOST + 1)])
    assert {type(each) for each in told[:AT_MOST]} == {Unavailable}
    assert told[AT_MOST:] == [True]
    assert len(table.calls) == AT_ONCE + 2, "whether it was written is not known: no second try"


async def test_an_unexpected_error_is_told_and_ends_nothing() -> None:
    async def broken(_: Sequence[Row]) -> None:
        raise RuntimeError("a bug")

    together = Together(broken, Table().find)
    for at in range(2 * AT_ONCE):
        with pytest.raises(RuntimeError, match="a bug"):
            await asyncio.wait_for(together.record(fact(at)), WAIT_S)


async def test_who_gives_up_waiting_takes_nothing_from_the_others() -> None:
    table = Table()
    together = Together(table.write, table.find)
    table.gate.clear()
    tasks = [asyncio.create_task(together.record(fact(at))) for at in range(MANY)]
    await asyncio.sleep(0)
    for each in tasks[::2]:
        each.cancel()
    table.gate.set()
    async with asyncio.timeout(WAIT_S):
        told = await asyncio.gather(*tasks, return_exceptions=True)
    assert told[1::2] == [True] * (MANY // 2)
    assert all(isinstance(each, asyncio.CancelledError) for each in told[::2])
    assert len(table.rows) == MANY, "it may have been sent already, so it is written"


@pytest.mark.overlapping
async def test_a_store_writes_a_burst_in_a_few_commits_and_keeps_each_to_itself(
    store: SurrealStore,
) -> None:
    """F16: new ones, repeats and one that the schema refuses, all at once."""
    old = delivery(request_id="old")
    await store.record_delivery(old, grace_s=LONG_S)
    burst = [delivery(request_id=f"r{at}") for at in range(MANY)]
    bad = delivery(user_id=7)
    calls = store.database.calls
    told = await asyncio.gather(
        *(store.record_delivery(each, grace_s=LONG_S) for each in [*burst, *burst]),
    )
    assert (told[:MANY], told[MANY:]) == ([True] * MANY, [False] * MANY)
    assert store.database.calls - calls < MANY / 2, "or each was a commit"
    *good, refused = await asyncio.gather(
        *(store.record_delivery(each, grace_s=LONG_S) for each in [*burst[:3], old, bad]),
        return_exceptions=True,
    )
    assert good == [False] * 4
    assert isinstance(refused, Rejected)
    assert await rows(store) == MANY + 1
