"""The whole service as `fal-video dev` runs it: stand-ins and a web process, and users."""

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from service.commands.local import USER, free_port
from service.settings import Needs, read_settings
from service.wiring import open_store
from tests.processes.running import Process, Stand, sandbox_process, web_environment
from tests.world import eventually, png, token

CREDITS: Final = 1_000
USERS: Final = 100  # one for each test, and more for those that want several
PRICE: Final = 40  # five seconds of seedance, which is what the first template asks for
# The stand-in renders at once, and says so when the test wants it: see `Site.finish`.
UNTIL_FINISHED: Final = "drop"
NEVER_OVERDUE_S: Final = 60.0  # so that the sweep does not find out by itself before

SETTINGS: Final = {
    "RECONCILE_INTERVAL_S": "0.3",
    "EXPECTED_RENDER_S": str(NEVER_OVERDUE_S),
    "AUTH_DEVELOPMENT_USER": USER,
    "ALLOW_RETIRED_PROVIDERS": "true",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A running service, as its users, its operator and fal see it."""

    stand: Stand
    process: Process
    emails: Iterator[str]

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def port(self) -> int:
        return int(self.process.environment["PORT"])

    def new_user(self) -> str:
        """Somebody with credits, whom no other test knows."""
        return next(self.emails)

    @contextlib.asynccontextmanager
    async def client(self, email: str) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {token(email)}"}
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=60, trust_env=False
        ) as client:
            yield client

    async def library(self, email: str) -> list[dict[str, Any]]:
        """Everything this user has asked for, newest first."""
        async with self.client(email) as client:
            answer = await client.get("/api/library", params={"limit": 100})
        items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return items

    async def status(self, email: str, job_id: str) -> dict[str, Any]:
        async with self.client(email) as client:
            answer = await client.get("/api/templates/video/status", params={"jobId": job_id})
        view: dict[str, Any] = answer.raise_for_status().json()
        return view

    async def until(self, email: str, job_id: str, *wanted: str) -> dict[str, Any]:
        """The job's status once it is one of those wanted."""

        async def look() -> dict[str, Any] | None:
            view = await self.status(email, job_id)
            return view if view["status"] in wanted else None

        return await eventually(look)

    async def money(self, email: str) -> tuple[int, int]:
        """Credits available and reserved."""
        async with self.client(email) as client:
            found = (await client.get("/api/credits")).raise_for_status().json()
        return found["available"], found["reserved"]

    async def order(self, email: str, brand: str, faults: str = "") -> str:
        """A job that no page has asked for; its id."""
        data = {"templateSlug": "night-life-roller", "variables": {"BRAND": said(brand, faults)}}
        async with self.client(email) as client:
            answer = await client.post(
                "/api/templates/video",
                data={"data": json.dumps(data)},
                files={"startImage": ("start.png", png(), "image/png")},
            )
        job_id: str = answer.raise_for_status().json()["jobId"]
        return job_id

    async def at_fal(self, brand: str) -> list[dict[str, Any]]:
        """Every request that fal has accepted for this brand."""
        return (await self.stand.requests_by_brand()).get(brand, [])

    async def finish(self, brand: str) -> None:
        """fal tells of the end of this brand's job, which it was told to keep to itself."""
        await finish(self.stand.fal_url, brand)

    async def calls(self, brand: str) -> tuple[int, int]:
        """How many submissions and status calls fal has had for this brand's one job."""
        found = await self.at_fal(brand)
        return len(found), sum(each["statuses"] for each in found)


def said(brand: str, faults: str = "") -> str:
    """What to write into the template's variable: the stand-in for fal reads faults in it."""
    return f"{brand} #sandbox:{faults}" if faults else brand


async def finish(fal_url: str, brand: str) -> None:
    """The stand-in at that address sends the webhook of this brand's job, once it can."""
    async with httpx.AsyncClient(base_url=fal_url, trust_env=False) as fal:

        async def tell() -> bool | None:
            asked = (await fal.get("/sandbox/requests")).raise_for_status().json()
            ids = [each["request_id"] for each in asked if brand in each["prompt"]]
            if not ids:
                return None
            assert len(ids) == 1, f"{brand!r} is not the brand of one job alone"
            told = await fal.post(f"/sandbox/redeliver/{ids[0]}")
            return True if told.is_success else None  # 409: it renders yet

        await eventually(tell)


@contextlib.asynccontextmanager
async def running_site(folder: Path, **settings: str) -> AsyncIterator[Site]:
    """A site of one's own, its database in `folder`."""
    async with sandbox_process(folder, "--slots", "64") as stand:
        environment = web_environment(
            stand,
            free_port(),
            SURREALDB_URL=f"surrealkv://{folder / 'data'}",
            **{**SETTINGS, **settings},
        )
        emails = [f"user{number}@example.com" for number in range(USERS)]
        await _grant(environment, [USER, *emails])
        process = Process(command=["web"], environment=environment, log=folder / "web.log")
        await process.start()
        try:
            yield Site(stand=stand, process=process, emails=itertools.chain(emails))
        finally:
            if process.alive:
                await process.stop()


async def _grant(environment: dict[str, str], emails: list[str]) -> None:
    """Credits for everybody, while no process has the database."""
    async with open_store(read_settings(environment, Needs.DATABASE)) as store:
        for email in emails:
            await store.grant(email, CREDITS, f"{email}-at-the-start")
