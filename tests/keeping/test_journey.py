"""The whole service as its own identity: it never needs to be more."""

from dataclasses import replace

from service.adapters.surreal import Database
from service.commands.migrate import migrate_now
from service.commands.running import BAD_USE
from service.flows.delete import delete
from service.flows.retention import keep_once
from service.sandbox.object_store import ObjectStore
from service.settings import Needs, read_settings
from tests.engine.server import shared_engine
from tests.keeping.conftest import KEY
from tests.parts import thorough
from tests.world import World, eventually, open_world

NEW_KEY = "the key that follows, of thirty-two characters"
USER = ("SURREALDB_USERNAME", "SURREALDB_PASSWORD")


async def test_jobs_are_made_cancelled_deleted_and_audited_by_the_identity_alone(
    s3: ObjectStore,
) -> None:
    """Its only credential is the key that `fal-video migrate` was given beside the owner's."""
    settings = shared_engine().settings()
    owner = shared_engine().environment(settings.database)
    with_key = owner | {"SURREALDB_ACCESS_KEY": KEY}
    assert await migrate_now(read_settings(owner, Needs.DATABASE)) == 0
    assert await migrate_now(read_settings(with_key, Needs.DATABASE)) == 0
    given = {name: value for name, value in with_key.items() if name not in USER}
    async with open_world(s3, given, posters=thorough()) as world:
        assert world.runtime.store.database.settings.username is None
        await journey(world)
        database = Database(settings)
        assert await accesses(database) == 1
        # A migrate without a key leaves the identity as it is; one without an owner does nothing.
        assert await migrate_now(read_settings(owner, Needs.DATABASE)) == 0
        assert await migrate_now(read_settings(given, Needs.DATABASE)) == BAD_USE
        assert await accesses(database) == 1
        # The key is changed: both are good, then one.
        new = read_settings(owner | {"SURREALDB_ACCESS_KEY": NEW_KEY}, Needs.DATABASE)
        assert await migrate_now(new) == 0
        assert await accesses(database) == 2
        assert await migrate_now(new, only_this_key=True) == 0
        assert await accesses(database) == 1
        assert await world.money() == (160, 0, 40), "who is in stays for a session's length"
        await database.close()


async def accesses(database: Database) -> int:
    return len((await database.read("INFO FOR DB"))["accesses"])


async def journey(world: World) -> None:
    services = world.runtime.services
    await world.grant(200)
    done = await world.submit(brand="done")
    await world.until(done, "completed")
    await world.faults("refuse")
    refused = await world.submit(brand="refused")
    await world.until(refused, "failed")
    await world.faults("drop")
    given_up = await world.submit(brand="given up")
    await world.until_state(given_up, "submitted")
    answer = await world.http.post(
        "/api/templates/video/cancel",
        json={"jobId": given_up, "ifFinished": "discard"},
        headers=world.headers(),
    )
    assert answer.status_code == 202
    await eventually(lambda: ended(world, given_up))
    await delete(services, await services.store.job(refused))
    await world.quiet()
    policy = replace(services.policy, keep_deliveries_s=0, keep_start_images_s=0)
    kept = await keep_once(replace(services, policy=policy))
    assert kept is not None
    assert (kept.handled_emptied > 0, kept.images_removed > 0) == (True, True)
    report = await world.audit()
    assert (report.violations, report.jobs) == ([], 3)
    assert await world.money() == (160, 0, 40)


async def ended(world: World, job_id: str) -> bool | None:
    await world.sweep()
    return True if (await world.runtime.store.job(job_id)).is_final else None
