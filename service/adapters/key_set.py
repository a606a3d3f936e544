"""A cached JSON Web Key Set: fetched once, kept, and fetched again when a key is missing."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import httpx

from service.domain.errors import Transient
from service.ports import SILENT, Signals
from service.ports.signals import Count

log = logging.getLogger(__name__)

Key = TypeVar("Key")

MAX_BYTES: Final = 64 * 1024  # a set of a hundred keys; more is not a key set
MAX_AGE_S: Final = 6 * 3600.0  # fal asks for no longer than 24 h
MISS_INTERVAL_S: Final = 60.0  # a flood of forgeries may cost one fetch a minute, not more
COLD_INTERVAL_S: Final = 5.0  # without any key nothing can be accepted: try sooner
TIMEOUT_S: Final = 5.0  # a webhook waits for this, well under fal's 15 s
# What is packed could be a thousand times as large before its size was seen.
_PLAIN: Final = {"Accept-Encoding": "identity"}

Jwk = Mapping[str, Any]


class KeySet(Generic[Key]):
    """Usable keys of a set. `parse` returns None for a key of another kind.

    Concurrent callers share one fetch. A failed fetch keeps the keys there are.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        parse: Callable[[Jwk], Key | None],
        *,
        name: str = "keys",
        signals: Signals = SILENT,
    ) -> None:
        self._name = name
        self._signals = signals
        self._client = client
        self._url = url
        self._parse = parse
        self._keys: Sequence[Key] = ()
        self._lock = asyncio.Lock()
        self._missing = asyncio.Lock()
        self._miss_failed = False
        self._fetched_at = self._tried_at = self._missed_at = float("-inf")
        self.fetches = 0

    async def current(self) -> Sequence[Key]:
        """The keys, fetched if there are none or they are old. Raises Transient without any."""
        if self._age() > MAX_AGE_S:
            await self._fetch(since=self._tried_at)
        if not self._keys:
            raise Transient("the key set cannot be fetched")
        return self._keys

    async def after_miss(self) -> Sequence[Key]:
        """The keys after none of the current ones fitted: fetched anew, once a minute at most.

        Raises Transient for as long as that fetch has failed: then it is not the sender's fault.
        """
        async with self._missing:  # those who wait share what the first of them brings
            now = time.monotonic()
            if now - self._missed_at >= MISS_INTERVAL_S:
                self._missed_at = now
                await self._fetch(since=self._tried_at, at_once=True)
                self._miss_failed = self._fetched_at < now
        if self._miss_failed:
            raise Transient("the key set cannot be fetched")
        return self._keys

    def _age(self) -> float:
        return time.monotonic() - self._fetched_at

    async def _fetch(self, *, since: float, at_once: bool = False) -> None:
        async with self._lock:
            if self._tried_at > since:
                return  # somebody fetched while we waited
            if not at_once and time.monotonic() - self._tried_at < COLD_INTERVAL_S:
                return
            self._tried_at = time.monotonic()
            self.fetches += 1
            try:
                keys = await self.load()
            except (httpx.HTTPError, ValueError, RecursionError, TimeoutError) as error:
                log.warning("key set not fetched", extra={"set": self._name, "reason": str(error)})
                self._count("failed")
                return
            self._keys, self._fetched_at = keys, time.monotonic()
            self._count("fetched")

    def _count(self, outcome: str) -> None:
        self._signals.count(Count.KEY_SET_FETCHES, set=self._name, outcome=outcome)

    async def load(self) -> Sequence[Key]:
        """The usable keys at the address. Raises ValueError for anything that is no key set."""
        async with (
            asyncio.timeout(TIMEOUT_S),
            self._client.stream(
                "GET", self._url, headers=_PLAIN, follow_redirects=False
            ) as response,
        ):
            response.raise_for_status()
            if "Content-Encoding" in response.headers:
                raise ValueError("the key set is encoded although asked not to be")
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("the key set is too large")
        match json.loads(body):
            case {"keys": [*jwks]}:
                keys = [self._parse(jwk) for jwk in jwks if isinstance(jwk, dict)]
                usable = [key for key in keys if key is not None]
            case _:
                usable = []
        if not usable:
            raise ValueError("the key set holds no usable key")
        return usable
