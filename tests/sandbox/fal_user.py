"""Somebody who uses the sandbox as the service would: over HTTP, verifying what they get."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from service.sandbox.settings import Sandbox
from tests.sandbox.receiver import TIMEOUT_S, Received, Receiver

KLING = "fal-ai/kling-video/v2.5-turbo/pro/image-to-video"
SEEDANCE = "fal-ai/bytedance/seedance/v1/pro/image-to-video"


@dataclass
class FalUser:
    sandbox: Sandbox
    inbox: Receiver
    http: httpx.AsyncClient

    @property
    def image_url(self) -> str:
        return f"{self.inbox.url}/start.jpg"

    async def submit(
        self, faults: str = "", *, prompt: str = "a dog", endpoint: str = SEEDANCE, **body: Any
    ) -> httpx.Response:
        content = {"prompt": prompt, "image_url": self.image_url, "duration": "2", **body}
        return await self.http.post(
            f"/{endpoint}",
            params={"fal_webhook": f"{self.inbox.url}/hook?job=1"},
            json=content,
            headers={"X-Sandbox-Faults": faults},
        )

    async def accepted(self, faults: str = "", **options: Any) -> dict[str, Any]:
        answer = await self.submit(faults, **options)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def completed(self, handle: dict[str, Any]) -> dict[str, Any]:
        """Poll its status until COMPLETED."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                answer = await self.http.get(handle["status_url"])
                if answer.status_code == 200:
                    return dict(answer.json())
                assert answer.status_code == 202, answer.text

    async def in_progress(self, handle: dict[str, Any]) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                answer = await self.http.get(handle["status_url"], params={"logs": "1"})
                if answer.json()["status"] != "IN_QUEUE":
                    return dict(answer.json())

    async def video(self, faults: str = "", **options: Any) -> dict[str, Any]:
        """Submit, wait and fetch the result: its `video`."""
        handle = await self.accepted(faults, **options)
        await self.completed(handle)
        answer = await self.http.get(handle["response_url"])
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["video"])

    async def impatient(self, url: str) -> httpx.Response:
        """GET, but only for a moment. Raises TimeoutError."""
        async with asyncio.timeout(0.3):
            return await self.http.get(url)

    async def control(self, path: str, body: Any = None) -> Any:
        answer = await self.http.post(f"/sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def requests(self) -> list[dict[str, Any]]:
        return list((await self.http.get("/sandbox/requests")).json())

    async def counts(self) -> dict[str, int]:
        return dict((await self.http.get("/sandbox/counts")).json())

    async def delivered(self, count: int) -> list[dict[str, Any]]:
        """Wait until the sandbox has noted so many deliveries of all requests."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                found = [each for one in await self.requests() for each in one["deliveries"]]
                if len(found) >= count:
                    return found

    async def signed(self, webhook: Received) -> bool:
        """Whether one of the published keys signed it for our account."""
        keys = (await self.http.get(self.sandbox.jwks_url)).json()["keys"]
        return webhook.headers["x-fal-webhook-user-id"] == self.sandbox.user_id and any(
            verifies(webhook, key["x"]) for key in keys
        )


def verifies(webhook: Received, x: str) -> bool:
    """fal's documented check, written from the documentation."""
    head = webhook.headers
    lines = [
        head["x-fal-webhook-request-id"],
        head["x-fal-webhook-user-id"],
        head["x-fal-webhook-timestamp"],
        hashlib.sha256(webhook.body).hexdigest(),
    ]
    key = VerifyKey(base64.urlsafe_b64decode(x + "=" * (-len(x) % 4)))
    try:
        key.verify("\n".join(lines).encode(), bytes.fromhex(head["x-fal-webhook-signature"]))
    except BadSignatureError:
        return False
    return True


def told(webhook: Received) -> dict[str, Any]:
    return dict(json.loads(webhook.body))


@asynccontextmanager
async def fal_user(sandbox: Sandbox, inbox: Receiver) -> AsyncIterator[FalUser]:
    async with httpx.AsyncClient(
        base_url=sandbox.fal_url,
        headers={"Authorization": f"Key {sandbox.fal_key}"},
        timeout=TIMEOUT_S,
        trust_env=False,
        verify=False,  # loopback; loading the CA bundle costs 50 ms
    ) as client:
        yield FalUser(sandbox, inbox, client)
