"""Webhook deliveries as fal makes them, and as an attacker would."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from nacl.signing import SigningKey

from service.adapters.rows import job_record
from service.domain.job import Job
from service.domain.seal import Sealed, seal
from service.sandbox.signing import signature
from tests.world import OWNER, SEAL_KEY, World, eventually

SEED = bytes(range(32))  # also the seed of the published vector
ACCOUNT = "sandbox-1234"
SILENT = "#sandbox:drop Acme"  # the token in the prompt keeps the sandbox from sending its webhook


@dataclass(frozen=True)
class Signer:
    """A holder of a signing key: fal itself with the default key, somebody else with another."""

    key: SigningKey = field(default_factory=lambda: SigningKey(SEED))
    user_id: str = ACCOUNT

    def headers(
        self, body: bytes, *, request_id: str = "req-1", age_s: float = 0
    ) -> dict[str, str]:
        at = int(time.time() - age_s)
        return {
            "x-fal-webhook-request-id": request_id,
            "x-fal-webhook-user-id": self.user_id,
            "x-fal-webhook-timestamp": str(at),
            "x-fal-webhook-signature": signature(self.key, request_id, self.user_id, at, body=body),
        }

    def jwk(self, **more: str) -> dict[str, str]:
        x = base64.urlsafe_b64encode(bytes(self.key.verify_key)).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": "Ed25519", "x": x, **more}


@dataclass(frozen=True)
class Silent:
    """A job that fal has rendered without telling, and what fal would say about it."""

    job_id: str
    request_id: str
    url: str

    def message(self, **other: Any) -> bytes:
        told = {
            "error": None,
            "gateway_request_id": self.request_id,
            "payload": {"video": {"url": self.url}},
            "request_id": self.request_id,
            "status": "OK",
        }
        return json.dumps(told | other, sort_keys=True).encode()


async def silent_job(world: World, email: str = OWNER) -> Silent:
    """Submit a job whose webhook never comes, and wait until fal has rendered it."""
    job_id = await world.submit(email=email, brand=SILENT)
    job: Job = await world.until_state(job_id, "submitted")
    assert job.submission is not None
    request_id = job.submission.request_id
    url = f"{world.sandbox.fal_url}/fal-ai/bytedance/requests/{request_id}"
    headers = {"Authorization": f"Key {world.sandbox.fal_key}"}

    async def look() -> str | None:
        answer = await world.http.get(url, headers=headers)
        return str(answer.json()["video"]["url"]) if answer.status_code == 200 else None

    return Silent(job_id=job_id, request_id=request_id, url=await eventually(look))


def webhook_token(job_id: str, attempt: int = 1, key: str = SEAL_KEY) -> str:
    return seal(key.encode(), Sealed(job_id, attempt))


def webhook_path(job_id: str, attempt: int = 1) -> str:
    return f"/api/fal/webhook/{webhook_token(job_id, attempt)}"


async def deliver(
    world: World, job_id: str, body: Any, headers: Mapping[str, str], *, path: str | None = None
) -> httpx.Response:
    return await world.http.post(
        path or webhook_path(job_id), content=body, headers=dict(headers), timeout=60
    )


async def inbox(world: World, job_id: str | None = None) -> list[dict[str, Any]]:
    """The inbox's rows, of one job or of all."""
    if job_id is None:
        rows = await world.runtime.store.database.read("SELECT * FROM inbox")
    else:
        rows = await world.runtime.store.database.read(
            "SELECT * FROM inbox WHERE job = $job", job=job_record(job_id)
        )
    return [{"due": None, "outcome": None} | row for row in rows]


async def entries(world: World) -> set[str]:
    """The names of all inbox rows."""
    return {str(row["id"].id) for row in await inbox(world)}


async def make_due(world: World, job_id: str) -> None:
    """As if the job's time to be looked at had come."""
    await world.runtime.store.database.write(
        "UPDATE $job SET due = time::now() - 1s, lease_until = NONE", job=job_record(job_id)
    )


async def submitted_id(world: World, job_id: str) -> str:
    job: Job = await world.runtime.store.job(job_id)
    assert job.submission is not None
    return job.submission.request_id
