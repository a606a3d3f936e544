"""Each right of the service's identity is needed: the write that lacks it fails, and says so."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.adapters import surreal_connection
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database
from service.adapters.surreal_errors import NotPermitted
from service.domain.job import JobState
from service.domain.pauses import Activity
from tests.keeping.conftest import Shared, as_identity, everything
from tests.store import bench
from tests.store.bench import LONG_S, OWNER, PRICE

Act = Callable[[SurrealStore], Awaitable[object]]


async def submitted(store: SurrealStore) -> None:
    await bench.job_in(store, JobState.SUBMITTED)


async def ended(store: SurrealStore) -> None:
    await bench.job_in(store, JobState.FAILED)


async def made(store: SurrealStore) -> None:
    await bench.job_in(store, JobState.RENDERED)


async def late(store: SurrealStore) -> None:
    await ended(store)
    await store.write_off(bench.cost_of((await only(store)).id))


async def ready(store: SurrealStore) -> None:
    await bench.job_in(store, JobState.READY)


async def paused(store: SurrealStore) -> None:
    await store.pause(Activity.SUBMITTING, "locked", delays_s=[LONG_S], probed=False)


async def credited(store: SurrealStore) -> None:
    await bench.grant(store, PRICE)


async def only(store: SurrealStore) -> Any:
    [row] = await store.database.read("SELECT VALUE record::id(id) FROM video_job")
    return await store.job(row)


async def settles(store: SurrealStore) -> object:
    return await bench.settle(store, await only(store))


async def closes(store: SurrealStore) -> object:
    return await bench.close(store, (await only(store)).id)


async def recovers(store: SurrealStore) -> object:
    return await bench.recover(store, await only(store))


async def deletes(store: SurrealStore) -> object:
    return await store.begin_delete((await only(store)).id)


async def resumes(store: SurrealStore) -> object:
    return await store.resume(Activity.SUBMITTING)


async def receives(store: SurrealStore) -> object:
    return await store.record_delivery(bench.delivery(), grace_s=LONG_S)


async def reserves(store: SurrealStore) -> object:
    return await bench.reserve(store, bench.new_job())


async def grants(store: SurrealStore) -> object:
    return await store.grant(OWNER, 5, "again")


async def begins(store: SurrealStore) -> object:
    return await store.begin_chore("x", apart_s=LONG_S)


async def forgets(store: SurrealStore) -> object:
    return await store.note_forgotten("v1x", "r1")


async def writes_off(store: SurrealStore) -> object:
    return await store.write_off(bench.cost_of("v1x"))


async def times(store: SurrealStore) -> object:
    await store.note_render_time("m", 5, 5)
    return None


async def nothing(_: SurrealStore) -> None:
    """Nothing goes before."""


EVERY_DAY = [
    (credited, reserves, "ledger", "create"),
    (made, settles, "library", "create"),
    (submitted, closes, "account", "update"),
    (late, recovers, "write_off", "delete"),
    (nothing, receives, "inbox", "create"),
]
OTHERS = [
    (credited, reserves, "account", "update"),
    (credited, reserves, "video_job", "create"),
    (nothing, grants, "ledger", "create"),
    (nothing, grants, "account", "create"),
    (credited, grants, "account", "update"),
    (made, settles, "ledger", "create"),
    (made, settles, "account", "update"),
    (submitted, closes, "ledger", "create"),
    (late, recovers, "video_job", "create"),
    (late, recovers, "ledger", "create"),
    (late, recovers, "account", "update"),
    (ready, deletes, "library", "delete"),
    (nothing, writes_off, "write_off", "create"),
    (nothing, forgets, "forgotten_request", "create"),
    (nothing, times, "render_time", "create"),
    (nothing, paused, "pause", "create"),
    (paused, resumes, "pause", "delete"),
    (nothing, begins, "chore", "create"),
]


@pytest.mark.parametrize(
    ("before", "act", "table", "verb"),
    [*EVERY_DAY, *(pytest.param(*each, marks=pytest.mark.thorough) for each in OTHERS)],
)
async def test_a_write_that_is_denied_is_an_error_and_nothing_of_it_stays(
    shared: Shared, before: Act, act: Act, table: str, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F60: the engine answers OK to it; a block that half of is denied must not commit."""
    await before(shared.store)
    then = await everything(shared.owner)
    await shared.permit(table, without=verb)
    try:
        with pytest.raises(NotPermitted, match=table):
            await act(shared.store)
    finally:
        await shared.permit(table)
    assert await everything(shared.owner) == then
    assert [each.levelname for each in caplog.records if "denies" in each.message] == ["ERROR"]
    await act(shared.store)
    assert await bench.violations(SurrealStore(shared.owner)) == []


async def test_a_running_process_finds_out_and_goes_on_saying_so(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A guarded update that is denied looks like one that came too late, but not for long."""
    monkeypatch.setattr(surreal_connection, "RENEW_AFTER_S", 0.0)
    monkeypatch.setattr(surreal_connection, "REOPEN_PAUSE_S", 0.0)
    database = Database(as_identity(shared.owner.settings))
    await database.open()
    store = SurrealStore(database)
    assert await store.balance(OWNER) is not None
    await shared.permit("video_job", without="update")
    try:
        for _ in range(2):
            with pytest.raises(NotPermitted, match="update video_job"):
                await store.balance(OWNER)
    finally:
        await shared.permit("video_job")
    assert "the database denies what the service needs" in caplog.text
    assert await store.balance(OWNER) is not None
    await database.close()
