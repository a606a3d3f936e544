"""Hundreds of orders with every kind of trouble at fal, and the count of what became of them."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from tests.processes.fleet import PRICE, Customer, Fleet
from tests.processes.running import Process
from tests.world import eventually

USERS: Final = 5
AT_ONCE: Final = 10  # orders on the wire
FINAL_S: Final = 900.0  # of one job; a campaign as a whole has a bound of its own

# What goes wrong with an order at fal, and how often fal accepts it in the end.
GOOD: Final[dict[str, int]] = {
    "": 1,
    "duplicate=3": 1,
    "drop": 1,
    "submit_drop": 1,
    "submit_429=1": 1,
    "early": 1,
    "late=1": 1,
    "delay=1": 1,
    "submit_502": 1,
    "null_payload": 1,
    "error_null": 1,
    "error_then_ok": 1,
    "ok_then_error": 1,
    "file_503=1": 1,
    "gone_once": 1,
    "redirected": 1,
    "submit_slow=1": 1,
    "slow_file=40000,bytes=60000": 1,
    "double_accept": 2,
    "bytes=17000000,slow_file=12000000": 1,  # over 16 MiB: an upload in parts
}
# An order that ends without a video, its credits given back.
BAD: Final[dict[str, int]] = {"refuse": 1, "huge": 1, "submit_422=1": 0, "error": 3}
# A webhook that never comes, or that a proxy swallows.
LOST: Final = frozenset({"drop", "redirected"})
# Every second order is an ordinary one.
MIX: Final = [each for fault in [*GOOD, *BAD] for each in ("", fault)]


@dataclass(kw_only=True, slots=True)
class Campaign:
    """One run: its orders, what was done to the fleet meanwhile, and what it came to."""

    fleet: Fleet
    jobs: int
    name: str
    customers: list[Customer] = field(init=False)
    kills: list[str] = field(default_factory=list)
    killed_at: float = 0.0
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float = 0.0
    undelivered: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        emails = [f"{self.name}-{at}@example.com" for at in range(USERS)]
        self.customers = [Customer(fleet=self.fleet, email=each) for each in emails]

    @property
    def wall_s(self) -> float:
        return self.ended_at - self.started_at

    @property
    def recovery_s(self) -> float:
        """From the last kill to the end."""
        return self.ended_at - self.killed_at

    @property
    def accepted(self) -> int:
        return sum(len(each.jobs) for each in self.customers)

    def faults(self, at: int) -> str:
        return MIX[at % len(MIX)]

    async def run(
        self, trouble: Callable[["Campaign"], Coroutine[Any, Any, None]], *, within_s: float
    ) -> None:
        """Order everything while `trouble` happens, then wait until nothing is unfinished."""
        for each in self.customers:
            await each.grant(self.jobs)
        self.started_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(trouble(self))
            group.create_task(self._order_all())
        async with asyncio.timeout(within_s):
            await self._all_final()
        self.ended_at = time.monotonic()

    async def once_accepted(self, count: int, within_s: float) -> None:
        async def look() -> bool | None:
            return True if self.accepted >= count else None

        await eventually(look, within_s)

    async def _order_all(self) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(at: int) -> None:
            async with gate:
                customer = self.customers[at % USERS]
                await customer.order(f"{self.name}-{at}", self.faults(at), at=at)

        async with asyncio.TaskGroup() as group:
            for at in range(self.jobs):
                group.create_task(one(at))

    async def _all_final(self) -> None:
        """One job after the other, by its status: the cheapest look there is."""
        for customer in self.customers:
            for job_id in customer.jobs:
                await customer.until(job_id, "completed", "failed", within_s=FINAL_S)

    async def all_delivered(self) -> bool | None:
        """Whether fal got rid of every webhook that it had not been told to lose."""
        asked = await self.fleet.stand.requests_by_brand()
        self.undelivered = [
            (brand, request["faults"], request["deliveries"][-1:])
            for brand, requests in asked.items()
            if brand.startswith(f"{self.name}-") and self.faults(number(brand)) not in LOST
            for request in requests
            if [each["status"] for each in request["deliveries"][-1:]] != [HTTPStatus.OK]
        ]
        return None if self.undelivered else True

    async def kill(self, process: Process) -> None:
        """SIGKILL it, and start it again at once, as its supervisor would."""
        self.killed_at = time.monotonic()
        await process.kill()
        self.kills.append(process.log.stem)
        await process.start()

    async def outcome(self) -> "Outcome":
        """The count of it all, by what users, fal and the bucket each say."""
        asked = await self.fleet.stand.requests_by_brand()
        found = Outcome(jobs=self.jobs)
        for customer in self.customers:
            items = {item["jobId"]: item for item in await customer.library()}
            found.lost += len(customer.jobs.keys() - items.keys())
            found.strange += len(items.keys() - customer.jobs.keys())
            for job_id, brand in customer.jobs.items():
                faults = self.faults(number(brand))
                status = items[job_id]["status"]
                found.statuses[status] += 1
                if status != ("completed" if faults in GOOD else "failed"):
                    found.wrong.append((brand, faults, items[job_id]["error"]))
                if len(asked.get(brand, [])) != (GOOD | BAD)[faults]:
                    found.double.append((brand, faults, len(asked.get(brand, []))))
            found.keys |= {item["key"] for item in items.values() if item["key"]}
            completed = [item for item in items.values() if item["status"] == "completed"]
            money = await customer.credits()
            left = customer.granted - PRICE * len(completed)
            if (money["available"], money["reserved"]) != (left, 0):
                found.money.append((customer.email, money["available"], left))
        return found

    def report(self, outcome: "Outcome") -> None:
        """For `pytest -s`."""
        figures = {
            "processes": len(self.fleet.members),
            "kills": len(self.kills),
            "wall_s": round(self.wall_s, 1),
            "after_the_last_kill_s": round(self.recovery_s, 1) if self.kills else None,
            **outcome.figures,
        }
        sys.stdout.write(f"\n{self.name}: {figures}\n")


def number(brand: str) -> int:
    """Which of a campaign's orders it is."""
    return int(brand.rpartition("-")[2])


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What a campaign came to. Everything that is wrong is listed, so that a failure names it."""

    jobs: int
    lost: int = 0
    strange: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[Any] = field(default_factory=list)
    double: list[Any] = field(default_factory=list)
    money: list[Any] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    @property
    def figures(self) -> dict[str, Any]:
        return {
            "jobs": self.jobs,
            "lost": self.lost,
            "double": len(self.double),
            "wrong": len(self.wrong),
            **self.statuses,
        }
