"""The periodic audit: one process at a time, its result for everybody, and no false alarm."""

import asyncio
from typing import cast

import pytest

from service.adapters.audit_store import SurrealAuditStore
from service.domain.audit import AuditAccount
from service.flows.audit_runs import audit_if_due
from service.ports import AuditStore
from service.worker import running_audits
from tests.signals.scraping import scrape
from tests.world import World, eventually

OFTEN_S = 0.001


class Restless:
    """An audit's view of rows that were read at different moments, once."""

    def __init__(self, facts: SurrealAuditStore) -> None:
        self._facts = facts
        self.looks = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._facts, name)

    async def audit_accounts(self, after: str | None, limit: int) -> list[AuditAccount]:
        accounts = await self._facts.audit_accounts(after, limit)
        if after is not None:
            return accounts
        self.looks += 1
        if self.looks == 1:
            accounts[0] = AuditAccount(
                name=accounts[0].name,
                granted=accounts[0].granted + 1,
                available=accounts[0].available,
                reserved=accounts[0].reserved,
                captured=accounts[0].captured,
                in_flight=0,
                entries=accounts[0].entries,
                open_jobs=0,
                open_credits=0,
            )
        return accounts


def facts_of(world: World) -> SurrealAuditStore:
    return SurrealAuditStore(world.runtime.store.database)


async def forget_runs(world: World) -> None:
    await world.quiet()
    await world.runtime.store.database.write("DELETE audit_run")


async def test_its_result_is_there_for_all_and_a_metric(world: World) -> None:
    await world.grant(10)
    await forget_runs(world)
    assert (await scrape(world)).get("audit_passed") is None
    standing = world.runtime.standing
    assert await standing.last_audit() is None

    assert await audit_if_due(standing, facts_of(world), "a", apart_s=3600)
    last = await standing.last_audit()
    assert last is not None
    assert (last.passed, last.violations) == (True, 0)
    shown = await scrape(world)
    assert (shown("audit_passed"), shown("audit_violations")) == (1, 0)
    assert shown("audit_age_seconds") >= 0


async def test_of_several_processes_one_runs_it(world: World) -> None:
    await forget_runs(world)
    standing, facts = world.runtime.standing, facts_of(world)
    ran = await asyncio.gather(
        *(audit_if_due(standing, facts, f"p{each}", apart_s=3600) for each in range(6))
    )
    assert sorted(ran) == [False] * 5 + [True]
    assert not await audit_if_due(standing, facts, "p9", apart_s=3600), "it is not time yet"
    assert await audit_if_due(standing, facts, "p9", apart_s=OFTEN_S)


async def test_who_dies_in_an_audit_leaves_it_to_another(world: World) -> None:
    await forget_runs(world)
    standing, facts = world.runtime.standing, facts_of(world)
    assert await standing.claim_audit("dead", apart_s=OFTEN_S, claim_s=3600)
    assert not await audit_if_due(standing, facts, "alive", apart_s=OFTEN_S)
    assert await standing.claim_audit("dead", apart_s=OFTEN_S, claim_s=0), "its own to prolong"
    assert await audit_if_due(standing, facts, "alive", apart_s=OFTEN_S)
    assert not await standing.record_audit("dead", violations=7, took_s=1), "its time is over"
    last = await standing.last_audit()
    assert last is not None
    assert last.passed


async def test_what_a_second_look_does_not_show_is_no_violation(world: World) -> None:
    await world.grant(10)
    await forget_runs(world)
    restless = Restless(facts_of(world))
    store = cast("AuditStore", restless)
    assert await audit_if_due(world.runtime.standing, store, "a", apart_s=OFTEN_S)
    assert restless.looks == 2
    last = await world.runtime.standing.last_audit()
    assert last is not None
    assert last.passed


async def test_a_violation_that_stays_fails_it_and_names_no_address(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.grant(10)
    await forget_runs(world)
    database = world.runtime.store.database
    await database.write("UPDATE account SET granted += 1, available += 1")
    async with running_audits(world.runtime.standing, facts_of(world), "a", 60):

        async def failed() -> bool | None:
            last = await world.runtime.standing.last_audit()
            return None if last is None else not last.passed

        assert await eventually(failed)
    shown = await scrape(world)
    assert (shown("audit_passed"), shown("audit_violations")) == (0, 2)
    (line,) = [each for each in caplog.records if each.getMessage() == "audit failed"]
    assert "@" not in str(line.__dict__["found"])
    await database.write("UPDATE account SET granted -= 1, available -= 1")
