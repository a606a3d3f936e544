"""The way to the database breaks in every manner: calls end in time, and later ones work again."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from service.adapters.store import SurrealStore
from service.adapters.surreal import MAX_IN_FLIGHT, Database
from service.adapters.surreal_errors import Rejected
from service.domain.errors import Transient
from tests.engine.proxy import Fault, Proxy
from tests.engine.server import Engine
from tests.world import eventually

PATIENCE_S = 1.5  # of a call
SLACK_S = 3.0  # beside the deadline, on a busy machine
BUMP = "UPSERT counter:one SET n += 1"
COUNT = "SELECT VALUE n FROM ONLY counter:one"


@pytest_asyncio.fixture(loop_scope="package")
async def near(engine: Engine, proxy: Proxy) -> AsyncIterator[Database]:
    """A database of its own, reached without the proxy; what the others see through it."""
    database = Database(engine.settings())
    await database.script("DEFINE TABLE counter")
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="package")
async def away(near: Database, proxy: Proxy) -> AsyncIterator[Database]:
    """The same database at the other end of the proxy."""
    database = Database(replace(proxy.leading_to(near.settings), call_timeout_s=PATIENCE_S))
    await recovered(database)
    yield database
    await database.close()


async def recovered(database: Database) -> None:
    """Return once the client works (again) and its connection is all set for another call.

    It remembers a failure for a moment. A new connection's first call asks the engine what it can.
    """

    async def look() -> bool | None:
        try:
            return bool(await database.read("RETURN true"))
        except Transient:
            return None

    await eventually(look)


async def test_a_cut_connection_is_opened_anew_and_nobody_notices(
    away: Database, proxy: Proxy
) -> None:
    for _ in range(3):
        proxy.cut()
        assert await away.read("RETURN 1") == 1
        assert await away.write(BUMP, repeatable=False)


async def test_a_refused_connection_is_transient_and_heals_when_it_listens_again(
    away: Database, proxy: Proxy
) -> None:
    """F36: while the database is down each call says so in time; afterwards the client works."""
    await proxy.refuse()
    began = time.monotonic()
    ended = await asyncio.gather(
        *(away.read("RETURN 1") for _ in range(20)), away.write(BUMP), return_exceptions=True
    )
    assert time.monotonic() - began < PATIENCE_S + SLACK_S
    assert all(isinstance(each, Transient) for each in ended), ended

    await proxy.listen()
    await recovered(away)
    assert await away.read("SELECT VALUE n FROM ONLY counter:one") is None, "nothing was applied"


async def test_a_silent_peer_is_given_up_in_time_and_heals_when_it_speaks_again(
    away: Database, proxy: Proxy
) -> None:
    """F36: connected and mute; calls under way, later calls and new connections all end in time."""
    proxy.hush()
    began = time.monotonic()
    ended = await asyncio.gather(
        away.write(BUMP, repeatable=False),
        *(away.read("RETURN 1") for _ in range(40)),
        return_exceptions=True,
    )
    assert time.monotonic() - began < PATIENCE_S + SLACK_S
    assert all(isinstance(each, Transient) for each in ended), ended

    proxy.speak()
    await recovered(away)
    assert await away.read(COUNT) == 1, "the answer was lost, the write was not: once"


async def test_however_many_wait_behind_a_silent_peer_each_is_told_in_time(
    away: Database, proxy: Proxy
) -> None:
    """F36: more than the pool lets through at once; waiting in line counts as waiting."""
    proxy.hush()
    took = await asyncio.gather(*(ended_after(away) for _ in range(8 * MAX_IN_FLIGHT)))
    proxy.speak()
    assert max(took) < 2 * PATIENCE_S + SLACK_S


async def ended_after(database: Database) -> float:
    began = time.monotonic()
    with pytest.raises(Transient):
        await database.read("RETURN 1")
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("fault", "repeatable", "applied"),
    [
        (Fault.REQUEST_TORN, True, 1),
        (Fault.REQUEST_TORN, False, 0),
        (Fault.ANSWER_LOST, True, 2),
        (Fault.ANSWER_LOST, False, 1),
    ],
)
async def test_a_write_is_sent_again_only_where_it_may_be(
    away: Database,
    near: Database,
    proxy: Proxy,
    fault: Fault,
    repeatable: bool,  # noqa: FBT001 - a parameter of the test
    applied: int,
) -> None:
    """F37: what the engine has executed and not been able to say counts; so does a repeat."""
    proxy.faults = [fault]
    if repeatable:
        await away.write(BUMP)
    else:
        with pytest.raises(Transient):
            await away.write(BUMP, repeatable=False)
    assert (proxy.lost, await near.read(COUNT) or 0) == (1, applied)


async def test_a_commit_cut_off_in_the_middle_is_all_or_nothing(
    away: Database, near: Database, proxy: Proxy
) -> None:
    """F37: whatever became of it, both of its writes did or neither; it is transient to us."""
    await near.script("DEFINE TABLE pair; DEFINE TABLE twin")
    for at in range(20):
        await recovered(away)
        proxy.faults = [Fault.CUT_AT_ONCE]
        with pytest.raises(Transient):
            await away.write(
                "{ CREATE type::record('pair', $at); CREATE type::record('twin', $at); }",
                repeatable=False,
                at=at,
            )
    assert proxy.lost == 20
    # In one transaction: the last of them may be under way still.
    pairs, twins = await near.read(
        "{ RETURN [(SELECT VALUE record::id(id) FROM pair),"
        " (SELECT VALUE record::id(id) FROM twin)]; }"
    )
    assert pairs == twins


async def test_calls_beside_a_broken_one_are_answered(away: Database, proxy: Proxy) -> None:
    """One lost answer takes its connection along; what shared it is asked again."""
    proxy.faults = [Fault.ANSWER_LOST]
    assert await asyncio.gather(*(away.read("RETURN $n", n=each) for each in range(30))) == list(
        range(30)
    )
    assert proxy.lost == 1


async def test_an_ended_session_is_signed_in_anew(engine: Engine, near: Database) -> None:
    """The engine ends sessions of this user in no time; every call is answered all the same."""
    await near.script(
        "DEFINE USER brief ON ROOT PASSWORD 'brief' ROLES OWNER DURATION FOR SESSION 300ms"
    )
    settings = engine.settings(near.settings.database, user="brief")
    database = Database(settings)
    await database.open()
    first = database._connections[0]._sdk

    async def reopened() -> bool | None:
        assert await database.write(BUMP, repeatable=False)
        return database._connections[0]._sdk is not first or None

    await eventually(reopened)
    await database.close()


async def test_a_wrong_password_is_told_at_the_start(engine: Engine) -> None:
    database = Database(engine.settings(password="wrong"))
    with pytest.raises(Transient, match="cannot open the database"):
        await database.open()
    await database.close()


async def test_nobody_is_served_before_signing_in(engine: Engine) -> None:
    database = Database(engine.settings(user=None))
    await database.open()
    with pytest.raises(Transient, match="Anonymous"):
        await database.read("RETURN 1")
    await database.close()


async def test_a_mistake_of_ours_is_not_taken_for_an_absence(away: Database, proxy: Proxy) -> None:
    with pytest.raises(Rejected):
        await away.read("SELEKT 1")
    assert proxy.connections == 1, "it cost no connection"


async def test_a_store_goes_on_after_its_database_was_away(far: SurrealStore, proxy: Proxy) -> None:
    """F36: a long-lived process needs no restart, however often the way breaks."""
    for at in range(2):
        await proxy.refuse()
        with pytest.raises(Transient):
            await far.grant("ana@example.com", 1, f"grant-{at}")
        await proxy.listen()
        await recovered(far.database)
        await far.grant("ana@example.com", 1, f"grant-{at}")
    assert (await far.balance("ana@example.com")).available == 2
