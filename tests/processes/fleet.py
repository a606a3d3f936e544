"""Several web processes and reconcilers on one engine and one sandbox, and their users."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aioboto3
import httpx

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.store import SurrealStore
from service.domain.job import JobState
from service.domain.providers import PROVIDERS
from service.flows.audit import audit
from service.settings import Needs, Settings, read_settings
from service.wiring import open_bucket_alone, open_store, prepare
from tests.engine.server import Engine
from tests.parts import free_ports
from tests.processes.running import ALTERED, PROGRAM, Process, Stand, run, web_environment
from tests.world import eventually, png, token

WEBS: Final = 2
RECONCILERS: Final = 2
LEASE_S: Final = 3.0  # a process that a busy machine holds up for a second still has it
RECONCILE_INTERVAL_S: Final = 0.5
HURRY: Final = 0.05  # of the waits that are no settings: a minute's grace takes three seconds
DURATION_S: Final = 2
PRICE: Final = PROVIDERS["seedance"].price(DURATION_S)
UNAVAILABLE: Final = frozenset({429, 502, 503})
ANSWER_S: Final = 60.0
TOLD: Final = 15  # lines of a log in a failure's message

SETTINGS: Final = {
    "LEASE_S": str(LEASE_S),
    "RECONCILE_INTERVAL_S": str(RECONCILE_INTERVAL_S),
    "EXPECTED_RENDER_S": "3",
    "MAX_IN_FLIGHT": "1000",
    "MAX_AT_FAL": "1000",
    "MAX_SUBMISSIONS_PER_MINUTE": "10000",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """The processes by their roles. `store` reads what no interface shows, such as fences."""

    engine: Engine
    stand: Stand
    webs: list[Process]
    reconcilers: list[Process]
    environment: dict[str, str]
    store: SurrealStore
    http: httpx.AsyncClient

    @property
    def _settings(self) -> Settings:
        return read_settings(self.environment, Needs.WORK)

    @property
    def members(self) -> list[Process]:
        return [*self.webs, *self.reconcilers]

    def said_of(self, job_id: str) -> list[str]:
        """Each process's last lines, and its last about one job."""
        told: list[str] = []
        for each in self.members:
            lines = each.said().splitlines()
            about = [line for line in lines if job_id in line]
            told += [f"--- {each.log.name}", *about[-TOLD:], "...", *lines[-TOLD:]]
        return told

    async def whole(self) -> None:
        """Start whatever a test has left ended."""
        await asyncio.gather(*(each.start() for each in self.members if not each.alive))

    async def audit(self) -> dict[str, Any]:
        """What `fal-video audit --json` says; it must pass."""
        code, out = await run({**self.environment}, "audit", "--json")
        assert code == 0, out
        report: dict[str, Any] = json.loads(out[out.index("{\n") :])
        return report

    async def consistent(self) -> int:
        """How many videos are ready, after the same audit in this process, which is quicker."""
        async with open_bucket_alone(self._settings) as bucket:
            report = await audit(SurrealAuditStore(self.store.database), bucket)
        assert report.violations == []
        assert report.objects == report.states[JobState.READY]
        return report.objects

    async def objects(self) -> tuple[set[str], list[str]]:
        """Every video in the bucket, and every upload that was begun and not ended."""
        session = aioboto3.Session(
            aws_access_key_id=self.environment["R2_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["R2_SECRET_ACCESS_KEY"],
            region_name="auto",
        )
        bucket = self.environment["R2_BUCKET"]
        async with session.client("s3", endpoint_url=self.environment["R2_ENDPOINT_URL"]) as s3:
            keys: set[str] = set()
            async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                keys |= {each["Key"] for each in page.get("Contents", [])}
            uploads = await s3.list_multipart_uploads(Bucket=bucket)
        videos = {key for key in keys if "/library/" in key and key.endswith(".mp4")}
        return videos, [each["Key"] for each in uploads.get("Uploads", [])]


@contextlib.asynccontextmanager
async def running_fleet(
    engine: Engine, stand: Stand, folder: Path, *, hurry: float = 1, **settings: str
) -> AsyncIterator[Fleet]:
    """A fleet with a database and a bucket of its own. `hurry` below 1 alters its processes."""
    name = f"fleet-{secrets.token_hex(4)}"
    bucket = {"R2_BUCKET": name, "HURRY": str(hurry), "POSTERS": "off"}
    common = SETTINGS | bucket | engine.environment(name) | settings
    ports = free_ports(WEBS)
    environments = [web_environment(stand, port, **common) for port in ports]
    module = PROGRAM if hurry == 1 else ALTERED
    webs = [
        Process(command=["web"], environment=each, log=folder / f"web{at}.log", module=module)
        for at, each in enumerate(environments)
    ]
    reconcilers = [
        Process(
            command=["reconciler"],
            environment=environments[at % WEBS],
            log=folder / f"reconciler{at}.log",
            module=module,
        )
        for at in range(RECONCILERS)
    ]
    needs = read_settings(environments[0], Needs.WORK)
    async with (
        open_store(needs, migrated=False) as store,
        httpx.AsyncClient(trust_env=False, timeout=ANSWER_S) as http,
    ):
        await prepare(store, report=lambda _: None)
        (await http.put(f"{environments[0]['R2_ENDPOINT_URL']}/{name}")).raise_for_status()
        fleet = Fleet(
            engine=engine,
            stand=stand,
            webs=webs,
            reconcilers=reconcilers,
            environment=environments[0],
            store=store,
            http=http,
        )
        try:
            await fleet.whole()
            yield fleet
        finally:
            for each in fleet.members:
                if each.alive:
                    await each.kill()


@dataclass(kw_only=True, slots=True)
class Customer:
    """A user of the fleet, through the public interface only, at whichever web answers."""

    fleet: Fleet
    email: str
    granted: int = 0
    home: int = 0  # the web that is asked first
    jobs: dict[str, str] = field(default_factory=dict)  # the brand of each accepted job

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(self.email)}"}

    async def grant(self, videos: int) -> None:
        """Credits for so many videos."""
        await self.fleet.store.grant(self.email, videos * PRICE, secrets.token_hex(8))
        self.granted += videos * PRICE

    async def order(self, brand: str, faults: str = "", *, at: int = 0) -> str:
        """Order until it is accepted, under one key, from the given web or else another."""
        said = f"{brand} #sandbox:{faults}" if faults else brand
        order = {
            "templateSlug": "night-life-roller",
            "variables": {"BRAND": said},
            "duration": DURATION_S,
        }
        tried = iter(range(at, at + 10_000))

        async def attempt() -> str | None:
            answer = await self._ask(
                next(tried),
                "POST",
                "/api/templates/video",
                data={"data": json.dumps(order)},
                files={"startImage": ("start.png", png(), "image/png")},
                headers=self.headers | {"Idempotency-Key": brand},
            )
            if answer is None:
                return None
            assert answer.status_code == 202, answer.text
            return str(answer.json()["jobId"])

        job_id = await eventually(attempt, ANSWER_S)
        self.jobs[job_id] = brand
        return job_id

    async def status(self, job_id: str) -> dict[str, Any]:
        return await self._read("/api/templates/video/status", jobId=job_id)

    async def credits(self) -> dict[str, Any]:
        return await self._read("/api/credits")

    async def library(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] | None = {}
        while cursor is not None:
            page = await self._read("/api/library", limit="100", **cursor)
            items += page["items"]
            cursor = {"cursor": page["nextCursor"]} if page["nextCursor"] else None
        return items

    async def until(self, job_id: str, *wanted: str, within_s: float = ANSWER_S) -> dict[str, Any]:
        """Its status once it is a wanted one; else the failure tells what was said of the job."""
        view: dict[str, Any] = {}

        async def look() -> dict[str, Any] | None:
            view.update(await self.status(job_id))
            return view if view["status"] in wanted else None

        try:
            return await eventually(look, within_s)
        except TimeoutError:
            raise AssertionError("\n".join([f"{view}", *self.fleet.said_of(job_id)])) from None

    async def _read(self, path: str, **params: str) -> dict[str, Any]:
        tried = iter(range(self.home, self.home + 10_000))

        async def attempt() -> dict[str, Any] | None:
            answer = await self._ask(next(tried), "GET", path, params=params, headers=self.headers)
            if answer is None:
                return None
            found: dict[str, Any] = answer.raise_for_status().json()
            return found

        return await eventually(attempt, ANSWER_S)

    async def _ask(self, at: int, method: str, path: str, **more: Any) -> httpx.Response | None:
        """None where a web is away, or says that it cannot now."""
        web = self.fleet.webs[at % WEBS]
        try:
            answer = await self.fleet.http.request(method, web.url + path, **more)
        except httpx.TransportError:
            return None
        return None if answer.status_code in UNAVAILABLE else answer
