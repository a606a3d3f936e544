"""Jobs that wait for a delivery, and what is looked at after it; for the tests of the webhook."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.adapters.rows import job_record
from service.adapters.surreal import DatabaseSettings
from service.adapters.surreal_connection import Connection
from service.commands.local import free_port
from service.domain.job import JobState
from service.flows.reconcile import sweep_once
from tests.web.deliveries import Silent, make_due, silent_job
from tests.web.forms import fresh_email
from tests.world import World

on_shared = pytest.mark.asyncio(loop_scope="package")


async def rendered(world: World) -> Silent:
    """A silent job of a fresh account."""
    email = fresh_email()
    await world.grant(100, email)
    return await silent_job(world, email)


async def due_now(world: World, job_id: str) -> bool:
    found = await world.runtime.store.database.read(
        "SELECT VALUE due <= time::now() FROM ONLY $job", job=job_record(job_id)
    )
    return bool(found)


async def state(world: World, job_id: str) -> JobState:
    return (await world.runtime.store.job(job_id)).state


async def finish_by_sweep(world: World, job_id: str) -> None:
    """The job ends in a video, charged once, without another word from a webhook."""
    await world.quiet()
    await make_due(world, job_id)
    await sweep_once(world.runtime.services)
    await world.until_state(job_id, "ready")


@asynccontextmanager
async def database_away(world: World) -> AsyncIterator[None]:
    """While the body runs, the database is at an address where nobody listens."""
    database = world.runtime.store.database
    nowhere = DatabaseSettings(
        url=f"ws://127.0.0.1:{free_port()}", namespace="n", database="d", username="u"
    )
    real, database._connections = database._connections, [Connection(nowhere)]
    try:
        yield
    finally:
        database._connections = real
