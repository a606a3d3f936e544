"""A new version comes while the old one works: beside it, and in its place, under load.

Every day, test_several restarts the webs under load as well. What is old here is what a process
knows of the database, and that it signs in as the owner; its code is today's. How a real earlier
release gets on has to be tried with that release.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.migrate import find_migrations, migrate
from service.adapters.shipped import load_shipped_templates
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database
from service.commands.local import free_port
from service.flows.audit import audit
from service.settings import Needs, read_settings
from service.wiring import database_settings
from tests.processes.fleet import HURRY, SETTINGS, WEBS, Customer, Fleet
from tests.processes.running import ALTERED, Process, run, web_environment
from tests.world import eventually

KEY = "a key of at least thirty-two characters"
AT_ONCE = 6
SOON_S = 120.0
FAULTS = ("", "delay=1", "duplicate=3")


@contextlib.asynccontextmanager
async def old_and_new(fleet: Fleet, folder: Path) -> AsyncIterator[Fleet]:
    """Two webs on a database without the newest migration: one from before it, and today's.

    The old one signs in as the database's owner, the new one and its sidecar as the identity.
    Nothing is started.
    """
    name = f"rolling-{secrets.token_hex(4)}"
    common = SETTINGS | fleet.engine.environment(name)
    common |= {"R2_BUCKET": name, "HURRY": str(HURRY), "POSTERS": "off"}
    old = web_environment(fleet.stand, free_port(), **common, OLDER="1")
    new = web_environment(fleet.stand, free_port(), **common, SURREALDB_ACCESS_KEY=KEY)
    roles = [(["web"], old), (["web"], new), (["reconciler"], new)]
    members = [
        Process(command=command, environment=each, log=folder / f"{at}.log", module=ALTERED)
        for at, (command, each) in enumerate(roles)
    ]
    (await fleet.http.put(f"{new['R2_ENDPOINT_URL']}/{name}")).raise_for_status()
    database = Database(database_settings(read_settings(old, Needs.WORK)))
    store = SurrealStore(database)
    await migrate(database, find_migrations()[:-1], report=lambda _: None)
    for template in load_shipped_templates():
        await store.add_template(template)
    try:
        yield Fleet(
            engine=fleet.engine,
            stand=fleet.stand,
            webs=members[:2],
            reconcilers=members[2:],
            environment=new,
            store=store,
            http=fleet.http,
        )
    finally:
        for each in members:
            if each.alive:
                await each.kill()
        await database.close()


@pytest.mark.thorough
@pytest.mark.timeout(300)
async def test_an_older_process_goes_on_beside_a_newer_one(fleet: Fleet, tmp_path: Path) -> None:
    """F75: the old one is there first, `migrate` runs under it, and the new one joins it."""
    async with old_and_new(fleet, tmp_path) as both:
        old, new = both.webs
        [sidecar] = both.reconcilers
        customer = Customer(fleet=both, email="rolling@example.com")
        await customer.grant(2 * WEBS + 2)
        await old.start()
        before = await customer.order("rolling-before", at=0)
        lost = await customer.order("rolling-lost", "drop", at=0)
        code, said = await run(new.environment, "migrate")
        assert (code, "1 migrations applied" in said) == (0, True), said
        await new.start()
        await sidecar.start()
        after = [await customer.order(f"rolling-{at}", at=at) for at in range(2 * WEBS)]
        for job_id in [before, lost, *after]:
            done = await customer.until(job_id, "completed", "failed")
            assert done["status"] == "completed"
        assert await old.stop() == 0
        assert (await audit(SurrealAuditStore(both.store.database), None)).violations == []
        assert "Traceback" not in old.said()


@pytest.mark.thorough
@pytest.mark.timeout(300)
async def test_nothing_that_fal_sends_is_lost_while_the_webs_are_restarted(fleet: Fleet) -> None:
    """F42: orders and deliveries all the while; what meets a closed door comes again."""
    customer = Customer(fleet=fleet, email="restarts@example.com")
    await customer.grant(1_000)
    over = asyncio.Event()

    async def order_on(worker: int) -> None:
        """One video after the other: while it is waited for, its delivery is on its way."""
        number = 0
        while number == 0 or not over.is_set():
            fault = FAULTS[(worker + number) % len(FAULTS)]
            job_id = await customer.order(f"restarts-{worker}x{number}", fault, at=number)
            done = await customer.until(job_id, "completed", "failed", within_s=SOON_S)
            assert done["status"] == "completed"
            number += 1

    async with asyncio.TaskGroup() as group:
        for worker in range(AT_ONCE):
            group.create_task(order_on(worker))
        for web in fleet.webs:
            assert await web.stop() == 0
            await web.start()
        over.set()
    await eventually(lambda: all_handed_over(fleet), SOON_S)
    assert len(customer.jobs) >= AT_ONCE
    assert await fleet.consistent() >= len(customer.jobs)


async def all_handed_over(fleet: Fleet) -> bool | None:
    """Whether fal is rid of each webhook; none was ever refused as if it were fal's fault."""
    asked = await fleet.stand.requests_by_brand()
    ours = [each for brand, found in asked.items() if "restarts-" in brand for each in found]
    for request in ours:
        statuses = [each["status"] for each in request["deliveries"]]
        refused = [each for each in statuses if each and each // 100 == 4]
        assert refused == [], (request["deliveries"], refused)
        if HTTPStatus.OK not in statuses:
            return None
    return True if ours else None
