"""A service whose database is on a disk of a few megabytes; run by test_disk.py.

`python -m tests.signals.full_disk FOLDER`, where FOLDER is a small tmpfs of this process's own.
Fills it with deliveries, makes room, and says what became of them as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace

from service.adapters.surreal import Database
from service.sandbox.object_store import object_store
from service.wiring import database_settings
from tests.signals.scraping import TOKEN, scrape
from tests.web.deliveries import SEED, Signer, deliver
from tests.world import TINY, World, eventually, open_world

BODY_BYTES = 400_000
MOST = 60  # deliveries; the disk holds far fewer


async def main(folder: str) -> None:
    said: dict[str, object] = {}
    with object_store(0) as store:
        async with open_world(
            store,
            sandbox=replace(TINY, signing_seed=SEED),
            SURREALDB_URL=f"surrealkv://{folder}/data",
            METRICS_TOKEN=TOKEN,
        ) as world:
            await world.grant(100)
            acked = await until_full(world)
            said["acked"] = len(acked)
            refused = {f"full-{each}": await sent(world, f"full-{each}") for each in range(3)}
            said["refused"] = sorted(set(refused.values()))
            said["order"] = (await world.post()).status_code
            shown = await scrape(world)
            said["up"], said["failed"] = (
                shown("up_database"),
                shown("deliveries_total", outcome="failed"),
            )
            make_room(folder)
            await eventually(lambda: stored(world, "room-0"))
            after = ["room-0"] + [f"room-{each}" for each in range(1, 4)]
            said["after"] = [await sent(world, each) for each in after[1:]]
            await world.quiet()
            settings = database_settings(world.settings)
            said["audit"] = [str(each) for each in (await world.audit()).violations]
    database = Database(settings)
    await database.open()
    kept = set(await database.read("SELECT VALUE request_id FROM inbox"))
    await database.close()
    said["lost"] = sorted({*acked, *after} - kept)
    said["halves"] = sorted(set(refused) & kept)
    sys.stdout.write(json.dumps(said) + "\n")


def make_room(folder: str) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)


async def until_full(world: World) -> list[str]:
    acked: list[str] = []
    for each in range(MOST):
        if await sent(world, f"r-{each}", BODY_BYTES) != 200:
            return acked
        acked.append(f"r-{each}")
    raise AssertionError("the disk was never full")


async def sent(world: World, request_id: str, size: int = 20_000) -> int:
    body = os.urandom(size // 2).hex().encode()
    headers = Signer().headers(body, request_id=request_id)
    return (await deliver(world, "v1", body, headers)).status_code


async def stored(world: World, request_id: str) -> bool | None:
    return True if await sent(world, request_id) == 200 else None


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
