"""Key sets that are served in memory, well or badly; and how often they were asked for."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from service.adapters.key_set import KeySet

Key = TypeVar("Key")


@dataclass
class Published:
    """What the address answers: keys, or anything else that `content` and `status` say."""

    keys: list[Mapping[str, Any]] = field(default_factory=list)
    content: bytes | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    asked: int = 0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.status == 0:
            raise httpx.ConnectError("nobody listens", request=request)
        body = json.dumps({"keys": self.keys}).encode() if self.content is None else self.content
        return httpx.Response(self.status, content=body, headers=dict(self.headers))

    def key_set(self, parse: Callable[[Mapping[str, Any]], Key | None]) -> KeySet[Key]:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return KeySet(client, "https://keys.example/jwks.json", parse)
