"""Delivery of webhooks: fal's attempts, its pauses and when it gives up."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx

from service.sandbox.faults import Fault, FaultPlan
from service.sandbox.records import Delivery, Generation, Json
from service.sandbox.signing import KeyRing

# However short the scaled time, an attempt is given this long: a machine has its own pace.
SHORTEST_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrySchedule:
    """fal's documented limits. The pauses are our guess: fal says only "increasing backoff"."""

    first_timeout_s: float = 15.0
    later_timeout_s: float = 120.0
    retries: int = 31
    window_s: float = 3600.0
    first_pause_s: float = 5.0
    growth: float = 1.5
    longest_pause_s: float = 120.0

    def scaled(self, by: float) -> "RetrySchedule":
        """The same schedule in another time: all durations multiplied, timeouts down to a floor."""
        return RetrySchedule(
            first_timeout_s=max(self.first_timeout_s * by, SHORTEST_TIMEOUT_S),
            later_timeout_s=max(self.later_timeout_s * by, SHORTEST_TIMEOUT_S),
            retries=self.retries,
            window_s=self.window_s * by,
            first_pause_s=self.first_pause_s * by,
            growth=self.growth,
            longest_pause_s=self.longest_pause_s * by,
        )

    def attempts(self) -> Iterator[tuple[float, float]]:
        """Pause before, and time allowed for, each attempt."""
        yield 0.0, self.first_timeout_s
        for retry in range(self.retries):
            pause = self.first_pause_s * self.growth**retry
            yield min(pause, self.longest_pause_s), self.later_timeout_s


class Courier:
    """Hands webhooks over. Loopback targets are allowed here; fal itself drops them."""

    def __init__(
        self,
        *,
        keys: KeyRing,
        user_id: str,
        schedule: RetrySchedule,
        client: httpx.AsyncClient,
        totals: Counter[str],
    ) -> None:
        self._keys = keys
        self._user_id = user_id
        self._schedule = schedule
        self._client = client
        self._totals = totals

    async def deliver(self, generation: Generation, url: str, message: Json) -> None:
        """Try until it is taken, refused for good, or the window or the retries are used up."""
        ends = time.monotonic() + self._schedule.window_s
        for number, (pause, limit_s) in enumerate(self._schedule.attempts(), start=1):
            await asyncio.sleep(pause)
            if time.monotonic() > ends:
                return
            delivery = await self._attempt(
                generation, url, message, plan=generation.plan, number=number, limit_s=limit_s
            )
            if delivery.status is not None and _final(delivery.status):
                return

    async def send_once(self, generation: Generation, url: str, message: Json) -> Delivery:
        """One honest attempt outside the schedule, whatever faults the request carries."""
        return await self._attempt(
            generation,
            url,
            message,
            plan=FaultPlan(),
            number=len(generation.deliveries) + 1,
            limit_s=self._schedule.later_timeout_s,
        )

    async def _attempt(
        self,
        generation: Generation,
        url: str,
        message: Json,
        *,
        plan: FaultPlan,
        number: int,
        limit_s: float,
    ) -> Delivery:
        envelope = self._keys.seal(generation.request_id, self._user_id, encoded(message), plan)
        at = datetime.now(UTC)
        status, error = None, None
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._client.post(
                    url, content=envelope.body, headers=envelope.headers
                )
            status = answer.status_code
        except (httpx.TransportError, httpx.InvalidURL, TimeoutError) as failure:
            error = type(failure).__name__
        delivery = Delivery(at=at, attempt=number, status=status, error=error)
        generation.deliveries.append(delivery)
        generation.announced.set()
        self._totals["deliveries"] += 1
        return delivery


def encoded(message: Json) -> bytes:
    """The bytes fal sends: keys sorted, Python's default separators."""
    return json.dumps(message, sort_keys=True).encode()


def address(generation: Generation, base_url: str) -> str | None:
    """The webhook address it was given, if any, or the redirecting proxy in front of it."""
    if generation.webhook_url and Fault.REDIRECTED in generation.plan:
        return f"{base_url}/sandbox/moved/{generation.request_id}"
    return generation.webhook_url


def _final(status: int) -> bool:
    """2xx is taken; 3xx is never followed and never retried."""
    return 200 <= status < 400  # noqa: PLR2004 - the two classes of status named above
