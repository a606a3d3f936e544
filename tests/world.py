"""The whole service on loopback for tests: real engine, sandbox, HTTP and signatures."""

import asyncio
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import httpx
import jwt
from PIL import Image
from starlette.applications import Starlette

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.outbound import tls_context
from service.commands.local import free_port
from service.flows.audit import AuditReport, audit
from service.flows.reconcile import Sweep, sweep_once
from service.sandbox.object_store import ObjectStore
from service.sandbox.server import run_sandbox
from service.sandbox.settings import Sandbox, SandboxSettings
from service.settings import Needs, Settings, read_settings
from service.web.app import build_app
from service.web.serving import serve
from service.wiring import Runtime, open_runtime
from service.worker import running_reconciler, running_worker

T = TypeVar("T")

SECRET = "a secret that is long enough for HS256 to take it"
SEAL_KEY = "a seal key that is long enough to be accepted here"
OWNER = "ana@example.com"
SOON_S = 20.0  # a bound for what takes well under a second on an idle machine
TINY = SandboxSettings(frame_size=(64, 36), fps=4, slots=16)


def token(email: str = OWNER, **claims: Any) -> str:
    return jwt.encode({"email": email, "exp": int(time.time()) + 3600, **claims}, SECRET, "HS256")


@cache
def png(colour: str = "teal", size: tuple[int, int] = (64, 36)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


async def eventually(look: Callable[[], Awaitable[T | None]], within_s: float = SOON_S) -> T:
    """The first answer that is not None; looks again until then, within a bound."""
    async with asyncio.timeout(within_s):
        # What is waited for happens in other tasks and processes; only looking can tell.
        while (found := await look()) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


@dataclass
class World:
    """A running service and its surroundings, as a user and an operator see them."""

    sandbox: Sandbox
    runtime: Runtime
    http: httpx.AsyncClient
    app: Starlette

    @property
    def settings(self) -> Settings:
        return self.runtime.settings

    def headers(self, email: str = OWNER) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(email)}"}

    async def grant(self, amount: int, email: str = OWNER) -> None:
        await self.runtime.store.grant(email, amount, f"{email}-{time.monotonic_ns()}")

    async def post(
        self,
        *,
        data: Any = None,
        image: bytes | None = None,
        email: str = OWNER,
        key: str | None = None,
        brand: str = "Acme",
    ) -> httpx.Response:
        order = data or {"templateSlug": "night-life-roller", "variables": {"BRAND": brand}}
        headers = self.headers(email) | ({"Idempotency-Key": key} if key else {})
        return await self.http.post(
            "/api/templates/video",
            headers=headers,
            data={"data": order if isinstance(order, str) else json.dumps(order)},
            files={"startImage": ("start.png", image or png(), "image/png")},
        )

    async def submit(self, **order: Any) -> str:
        """Submit an order that must be accepted; its job's id."""
        answer = await self.post(**order)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["jobId"]
        return job_id

    async def status(self, job_id: str, email: str = OWNER) -> dict[str, Any]:
        answer = await self.http.get(
            "/api/templates/video/status", params={"jobId": job_id}, headers=self.headers(email)
        )
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def until(
        self, job_id: str, *wanted: str, within_s: float = SOON_S, email: str = OWNER
    ) -> dict[str, Any]:
        """The job's status once it is one of those wanted."""

        async def look() -> dict[str, Any] | None:
            view = await self.status(job_id, email)
            return view if view["status"] in wanted else None

        return await eventually(look, within_s)

    async def until_state(self, job_id: str, *wanted: str, within_s: float = SOON_S) -> Any:
        async def look() -> Any:
            job = await self.runtime.store.job(job_id)
            return job if job.state.value in wanted else None

        return await eventually(look, within_s)

    async def readiness(self, status: int) -> httpx.Response:
        """/health/ready once it answers so: a result is kept for a second."""

        async def look() -> httpx.Response | None:
            answer = await self.http.get("/health/ready")
            return answer if answer.status_code == status else None

        return await eventually(look)

    async def counts(self) -> Mapping[str, int]:
        answer = await self.http.get(f"{self.sandbox.fal_url}/sandbox/counts")
        found: Mapping[str, int] = answer.json()
        return found

    async def requests(self) -> list[dict[str, Any]]:
        answer = await self.http.get(f"{self.sandbox.fal_url}/sandbox/requests")
        found = answer.json()
        rows: list[dict[str, Any]] = found["requests"] if isinstance(found, dict) else found
        return rows

    async def faults(self, plan: str, *, times: int = 1, match: str | None = None) -> None:
        answer = await self.http.post(
            f"{self.sandbox.fal_url}/sandbox/faults",
            json={"match": match, "faults": plan, "times": times},
        )
        assert answer.is_success, answer.text

    async def no_faults(self) -> None:
        """Submissions that are still refused are refused no longer."""
        answer = await self.http.delete(f"{self.sandbox.fal_url}/sandbox/faults")
        assert answer.is_success, answer.text

    async def quiet(self) -> None:
        await self.runtime.nudges.quiet()

    async def time_passes(self) -> None:
        """Everything that waits for a time has waited for it; leases nobody prolongs are over."""
        await self.runtime.store.database.write(
            "{ UPDATE video_job SET due = time::now() WHERE due != NONE;"
            " UPDATE video_job SET lease_until = time::now() WHERE lease_until != NONE;"
            " UPDATE video_job SET thumbnail_due = time::now() WHERE thumbnail_due != NONE;"
            " UPDATE inbox SET due = time::now() WHERE due != NONE;"
            " UPDATE pause SET until = time::now(); }"
        )

    async def sweep(self) -> Sweep:
        """One sweep after a while, and everything that it set going."""
        await self.quiet()
        await self.time_passes()
        done = await sweep_once(self.runtime.services)
        await self.quiet()
        return done

    async def money(self, email: str = OWNER) -> tuple[int, int, int]:
        """Available, reserved and captured credits."""
        balance = await self.runtime.store.balance(email)
        return balance.available, balance.reserved, balance.captured

    async def states(self) -> dict[str, int]:
        """How many jobs are in each state."""
        rows = await self.runtime.store.database.read("SELECT VALUE state FROM video_job")
        return dict(Counter(rows))

    async def audit(self) -> AuditReport:
        return await audit(
            SurrealAuditStore(self.runtime.store.database), self.runtime.services.bucket
        )


def environment(sandbox: Sandbox, port: int, **overrides: str) -> dict[str, str]:
    """The settings of a service that lives with a sandbox, listening on `port`."""
    return {
        **sandbox.environment(),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        "WEBHOOK_SEAL_KEY": SEAL_KEY,
        "AUTH_JWT_SECRET": SECRET,
        "SURREALDB_URL": "mem://",
        "MAX_SUBMISSIONS_PER_MINUTE": "10000",  # tests order faster than people
        **overrides,
    }


@asynccontextmanager
async def open_world(
    store: ObjectStore,
    given: Mapping[str, str] | None = None,
    *,
    sandbox: SandboxSettings = TINY,
    reconciler: bool = False,
    posters: bool = False,
    **overrides: str,
) -> AsyncIterator[World]:
    """A world of its own. Without `reconciler` only tests sweep, when they want to.
    Thumbnails are made with `posters`.

    Settings over the usual ones: `given`, or one by one.
    """
    async with AsyncExitStack() as stack:
        standing = await stack.enter_async_context(run_sandbox(sandbox, store=store))
        port = free_port()
        settings = read_settings(
            environment(standing, port, **(given or {}), **overrides), Needs.WEB
        )
        runtime = _hasty(await stack.enter_async_context(open_runtime(settings)), posters)
        await stack.enter_async_context(
            running_worker(runtime.services, runtime.nudges, runtime.holder)
        )
        if reconciler:
            await stack.enter_async_context(
                running_reconciler(runtime.services, settings.reconcile_interval_s)
            )
        app = build_app(runtime)
        await stack.enter_async_context(_serving(app, port))
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                timeout=SOON_S,
                trust_env=False,
                verify=tls_context(),
            )
        )
        http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))  # no test signs in all
        yield World(sandbox=standing, runtime=runtime, http=http, app=app)


def _hasty(runtime: Runtime, posters: bool) -> Runtime:  # noqa: FBT001
    """Looks at fal's listing count however close together they are: tests do not wait.

    Nor do they for thumbnails, unless that is what they are about.
    """
    policy = replace(runtime.services.policy, lookup_apart_s=0)
    poster = runtime.services.poster if posters else None
    return replace(runtime, services=replace(runtime.services, policy=policy, poster=poster))


@asynccontextmanager
async def _serving(app: Starlette, port: int) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(
        serve(app, "127.0.0.1", port, stop=stop, on_ready=lambda _: ready.set())
    )
    await ready.wait()
    try:
        yield
    finally:
        stop.set()
        await task
