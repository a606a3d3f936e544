"""Jobs in any state, made only by the store's own moves; and what tests read beside the port."""

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.rows import job_record
from service.adapters.store import SurrealStore
from service.domain.audit import Violation
from service.domain.credits import Balance
from service.domain.inbox import Delivery
from service.domain.job import IfFinished, Job, JobError, JobState, NewJob, Submission
from service.domain.write_offs import Reason, WriteOff
from service.flows.audit import audit
from service.ports import (
    Applied,
    Grounds,
    Recovered,
    Reserved,
    Settled,
    StoredObject,
    Successor,
)

T = TypeVar("T")

OWNER: Final = "ana@example.com"
PRICE: Final = 7
LONG_S: Final = 3600.0  # longer than any test: never due, never expired
SHA256: Final = "ab" * 32
BROKEN: Final = JobError(code="provider_failed", message="The provider failed.")
ALL_STATES: Final = tuple(JobState)
TABLES: Final = (
    "video_job",
    "account",
    "ledger",
    "inbox",
    "library",
    "template",
    "pause",
    "write_off",
    "render_time",
    "forgotten_request",
    "chore",
    "audit_run",
    "operator_action",
)

_numbers = itertools.count(1)


def new_job(job_id: str | None = None, *, email: str = OWNER, **changes: Any) -> NewJob:
    name = job_id or f"v{next(_numbers):06d}x"
    job = NewJob(
        id=name,
        email=email,
        template_id="night-life-roller",
        provider="seedance",
        fal_model="fal-ai/bytedance/seedance/v1/pro/image-to-video",
        arguments={"prompt": "a {{b}}", "duration": "5", "seed": 3, "nested": {"list": [1, None]}},
        duration_s=5,
        credits=PRICE,
        expected_render_s=90,
        start_image_key=f"users/0/start/{name}.png",
        object_key=f"users/0/library/{name}.mp4",
        digest=f"digest of {name}",
    )
    return dataclasses.replace(job, **changes)


def submission(request_id: str) -> Submission:
    base = f"https://queue.fal.run/{request_id}"
    return Submission(
        request_id=request_id,
        status_url=f"{base}/status",
        response_url=base,
        cancel_url=f"{base}/cancel",
    )


def stored(job_id: str) -> StoredObject:
    return StoredObject(key=f"users/0/library/{job_id}.mp4", size=1234, sha256=SHA256)


def request_of(job_id: str) -> str:
    return f"request-of-{job_id}"


def delivery(job_id: str = "v1x", body: bytes = b'{"status":"OK"}', **changes: Any) -> Delivery:
    message = Delivery(
        job_id=job_id,
        attempt=1,
        request_id=request_of(job_id),
        user_id="us",
        body=body,
        stale=False,
    )
    return dataclasses.replace(message, **changes)


async def grant(store: SurrealStore, amount: int, email: str = OWNER) -> Balance:
    return await store.grant(email, amount, f"grant-{next(_numbers)}")


async def reserve(
    store: SurrealStore, job: NewJob, *, max_in_flight: int = 10_000, grace_s: float = LONG_S
) -> Reserved:
    return await store.reserve(job, max_in_flight=max_in_flight, grace_s=grace_s)


async def reserved_id(store: SurrealStore, **changes: Any) -> str:
    """A reserved job with exactly its own credits granted; its id."""
    job = new_job(**changes)
    await grant(store, job.credits, job.email)
    assert await reserve(store, job) is Reserved.RESERVED
    return job.id


async def reserved_job(store: SurrealStore, **changes: Any) -> Job:
    return await store.job(await reserved_id(store, **changes))


async def begin(store: SurrealStore, job_id: str) -> Job | None:
    return await store.begin_submission(job_id, grace_s=LONG_S, max_at_fal=100)


async def record(store: SurrealStore, job: Job, request_id: str | None = None) -> bool:
    return await store.record_submission(
        job.id,
        job.submit_attempts,
        submission(request_id or request_of(job.id)),
        expected_s=LONG_S,
    )


async def unknown(store: SurrealStore, job: Job) -> bool:
    return await store.submission_unknown(job.id, job.submit_attempts, "no answer", grace_s=LONG_S)


async def void(store: SurrealStore, job: Job) -> bool:
    return await store.submission_void(job, "429", retry_in_s=LONG_S)


async def rendered(
    store: SurrealStore,
    job_id: str,
    request_id: str | None = None,
    source_url: str | None = "https://v3.fal.media/files/a/b.mp4",
    entry_id: str | None = None,
) -> Applied:
    return await store.apply_rendered(
        job_id, request_id or request_of(job_id), source_url, entry_id=entry_id
    )


async def leased(store: SurrealStore, job_id: str, lease_s: float = LONG_S) -> Job:
    job = await store.lease(job_id, "tests", lease_s=lease_s)
    assert job is not None, "the lease was free"
    return job


async def settle(store: SurrealStore, job: Job) -> Settled:
    return await store.settle_ready(job.id, job.fence, stored(job.id))


async def close(
    store: SurrealStore,
    job_id: str,
    to: JobState = JobState.FAILED,
    *,
    fence: int | None = None,
    attempt: int | None = None,
    request_id: str | None = None,
    entry_id: str | None = None,
    cost: WriteOff | None = None,
) -> Applied:
    grounds = Grounds(
        attempt=attempt, fence=fence, request_id=request_id, entry_id=entry_id, cost=cost
    )
    return await store.close_unfilled(job_id, to, BROKEN, grounds)


async def cancel(
    store: SurrealStore, job_id: str, if_finished: IfFinished = IfFinished.KEEP
) -> bool:
    return await store.request_cancel(job_id, if_finished)


async def accepted(store: SurrealStore, job: Job, request_id: str | None = None) -> bool:
    return await store.cancel_accepted(job.id, request_id or request_of(job.id), grace_s=LONG_S)


def successor(job_id: str) -> Successor:
    name = f"{job_id}-late"
    return Successor(name, stored(name).key)


async def recover(store: SurrealStore, job: Job, request_id: str | None = None) -> Recovered:
    return await store.recover_late(
        job,
        successor(job.id),
        request_id or request_of(job.id),
        "https://v3.fal.media/files/a/late.mp4",
    )


def cost_of(
    job_id: str, reason: Reason = Reason.REFUSED, request_id: str | None = None
) -> WriteOff:
    request_id = request_id or request_of(job_id)
    return WriteOff(job_id=job_id, request_id=request_id, reason=reason, credits=PRICE)


async def write_offs(store: SurrealStore) -> list[tuple[str, str, int]]:
    """Request, reason and credits of everything that was written off."""
    rows = await store.database.read("SELECT id, request_id, reason, credits FROM write_off")
    return sorted((each["request_id"], each["reason"], each["credits"]) for each in rows)


async def give_back(store: SurrealStore, job: Job, retry_in_s: float = 0) -> bool:
    return await store.give_back(job, "503", retry_in_s=retry_in_s, counted=True)


async def job_in(store: SurrealStore, state: JobState, **changes: Any) -> Job:
    """A new job that the store's own moves brought to `state`; a rendered one holds a lease."""
    job_id = await reserved_id(store, **changes)
    if state in {JobState.FAILED, JobState.CANCELLED}:
        assert await close(store, job_id, state) is Applied.CLOSED
    elif state is not JobState.RESERVED:
        await _submitted_or_later(store, job_id, state)
    found = await store.job(job_id)
    assert found.state is state
    return found


async def _submitted_or_later(store: SurrealStore, job_id: str, state: JobState) -> None:
    begun = await begin(store, job_id)
    assert begun is not None
    if state is JobState.SUBMIT_UNKNOWN:
        assert await unknown(store, begun)
    elif state is not JobState.SUBMITTING:
        assert await record(store, begun)
    if state in {JobState.RENDERED, JobState.READY}:
        assert await rendered(store, job_id) is Applied.RENDERED
        job = await leased(store, job_id)
        if state is JobState.READY:
            assert await settle(store, job) is Settled.SETTLED


async def row(store: SurrealStore, job_id: str) -> dict[str, Any]:
    """A job's whole row, for what the port does not show (due, lease, reasons)."""
    found = await store.database.read("SELECT * FROM ONLY $job", job=job_record(job_id))
    assert isinstance(found, dict)
    return found


async def violations(store: SurrealStore) -> list[Violation]:
    return (await audit(SurrealAuditStore(store.database), None)).violations


def amounts(balance: Balance) -> tuple[int, int, int, int]:
    return (balance.available, balance.reserved, balance.captured, balance.granted)


async def credits_of(store: SurrealStore, email: str = OWNER) -> tuple[int, int, int, int]:
    """available, reserved, captured, granted."""
    return amounts(await store.balance(email))


async def ledger_kinds(store: SurrealStore, email: str = OWNER) -> list[str]:
    return sorted(entry.kind.value for entry in await store.ledger(email, 10_000))


async def settlements(store: SurrealStore) -> list[Any]:
    """kind and credits of every settlement there is."""
    rows = await store.database.read(
        "SELECT kind, credits FROM ledger WHERE kind IN ['capture', 'release']"
    )
    return [(each["kind"], each["credits"]) for each in rows]


async def until(look: Callable[[], Awaitable[T | None]], within_s: float = 10.0) -> T:
    """The first answer that is not None, within a bound."""
    async with asyncio.timeout(within_s):
        while (found := await look()) is None:  # noqa: ASYNC110 - only asking can tell
            await asyncio.sleep(0.005)
    return found


async def until_passed(store: SurrealStore, moment: datetime) -> None:
    """Return once the database's own clock is past `moment`."""

    async def look() -> bool | None:
        now = await store.database.read("RETURN time::now()")
        return True if now > moment else None

    await until(look)
