"""One job's whole life under a plan: ordered, rendered, reported, struck, taken up again, ended."""

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from service.adapters.store import SurrealStore
from service.domain.errors import TooLate, Transient
from service.domain.job import IfFinished, JobError, JobState
from service.flows.cancel import cancel
from service.ports import Grounds
from service.sandbox.fault_book import Rule
from service.sandbox.faults import Fault as FalFault
from service.sandbox.faults import FaultPlan, parse
from service.sandbox.outcomes import messages
from service.sandbox.records import Generation, Json
from service.sandbox.webhooks import encoded
from tests.crash.plan import Fault, Plan, Race
from tests.crash.rig import BOUND_S, Rig, Simulated
from tests.crash.scenarios import Scenario, Webhook
from tests.world import png, token

OUTAGE_ROUNDS: Final = 3
ROUNDS: Final = 40  # of time passing; the longest life takes some twenty
GRANTED: Final = 100
FINAL: Final = frozenset({"ready", "failed", "cancelled"})

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Run:
    """What is tried; its text says how to try it again."""

    scenario: Scenario
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        return f"{self.scenario.name}/{'+'.join(map(str, self.faults))}"

    def plan(self) -> Plan:
        return Plan(*self.scenario.before, *self.faults)


@dataclass
class Delivery:
    """One message of fal's about a request, until it is taken."""

    generation: Generation
    message: Json | None  # None: bytes that nobody can read
    taken: bool = False


@dataclass
class Life:
    """Drives one run. What it leaves behind is for the oracle to judge."""

    rig: Rig
    run: Run
    plan: Plan
    processes: list[Simulated] = field(default_factory=list)
    deliveries: dict[str, list[Delivery]] = field(default_factory=dict)
    ordered: httpx.Response | None = None
    gives_up: IfFinished | None = None  # once there is a job to be given up
    gave_up: bool = False
    too_late: bool = False
    closed: bool = False
    deleted: bool = False
    account_closed: bool = False
    stuck: list[str] = field(default_factory=list)  # jobs seen with nothing that will move them
    rounds: int = 0

    def __post_init__(self) -> None:
        self.number = next(_numbers)
        self.email = f"user{self.number}@example.com"
        self.plan.racing = self._race

    @property
    def store(self) -> SurrealStore:
        return self.rig.runtime.store

    async def live(self) -> None:
        """From the order to quiet. Fails if that takes too many rounds."""
        await self.store.grant(self.email, GRANTED, f"grant-{self.number}")
        for plan in self.run.scenario.fal:
            times = 1 if plan is not self.run.scenario.fal[-1] else 100
            faults = parse(f"{plan},drop" if plan else "drop")
            self.rig.stage.book.add(Rule(match=self._brand, plan=faults, left=times))
        for self.rounds in range(ROUNDS):
            await self._one_round()
            if await self._over():
                break
            await self.rig.time_passes(leases=True)
            if self.rounds % OUTAGE_ROUNDS == 0:
                self.plan.away = None
            await (await self._standing()).sweep()
        else:
            raise AssertionError(f"{self.run}: not over after {ROUNDS} rounds")
        for process in self.processes:
            await process.end()

    async def _one_round(self) -> None:
        await self._order(await self._standing())
        await self._calm()
        await self._turn(await self._standing())
        await self._calm()
        await self._fal_reports(await self._standing())
        await self._calm()

    async def _standing(self) -> Simulated:
        """A process that works: the newest, or a new one if that is dead, hung or stopped."""
        for process in self.processes:
            if process.stopping:
                await process.end()
        if not self.processes or self.processes[-1].halted.is_set():
            self.processes.append(await self._process().start())
        return self.processes[-1]

    def _process(self) -> Simulated:
        name = f"p{len(self.processes)}"
        return Simulated(self.rig, self.plan, name, self.run.scenario.lease_s)

    async def _calm(self) -> None:
        while True:
            process = await self._standing()
            await process.quiet()
            while self.plan.races:
                await self._race(self.plan.races.pop())
            if not process.halted.is_set():
                return

    async def _over(self) -> bool:
        """Whether the job has ended, everybody has an answer, and nobody hangs."""
        rows = await self.rows("video_job", "id, state, parked, due, deleted_at, purge_due")
        self.stuck += [str(row["id"].id) for row in rows if not _moves(row)]
        if self.ordered is None or self.gives_up is not None:
            return False
        inbox = await self.rows("inbox", "handled_at, parked")
        jobs = all(row["state"] in FINAL or row["parked"] for row in rows)
        told = all(row.get("handled_at") or row["parked"] for row in inbox)
        if not (jobs and told and not self._untaken() and await self._removed(rows)):
            # Somebody who hangs may be who the others wait for.
            return self.rounds > ROUNDS // 2 and await self._release() and False
        return not await self._release()

    async def _removed(self, rows: list[dict[str, Any]]) -> bool:
        """Whether everything that was to be deleted is, and nothing of it is left to be removed."""
        scenario = self.run.scenario
        wanted = scenario.deletes or scenario.closes
        closing = await self.rows("account", "close_due") if scenario.closes else []
        return (
            not any(row.get("purge_due") for row in rows)
            and not any(account.get("close_due") for account in closing)
            and (not wanted or all(row.get("deleted_at") for row in rows))
        )

    async def _release(self) -> bool:
        """Let whoever hangs go on; whether there was anybody."""
        hung = [process for process in self.processes if process.hung]
        for process in hung:
            await process.release()
        return bool(hung)

    async def rows(self, table: str, fields: str = "*") -> list[dict[str, Any]]:
        statement = f"SELECT {fields} FROM {table}"
        found: list[dict[str, Any]] = await self.store.database.read(statement)
        return found

    # ------------------------------------------------------------------------------- the user

    @property
    def _brand(self) -> str:
        return f"Brand-{self.number}-of-a-run"

    async def _order(self, process: Simulated) -> None:
        """The browser asks again, under the same key, until it is answered."""
        if self.ordered is not None:
            return
        clicks = 2 if self.run.scenario.double_click else 1
        answers = await asyncio.gather(
            *(process.answer(self._post(process)) for _ in range(clicks))
        )
        for answer in answers:
            if answer is not None and answer.status_code < 500:
                assert answer.status_code == 202, f"{self.run}: {answer.text}"
                self.ordered = answer

    async def _turn(self, process: Simulated) -> None:
        """What the scenario, or a race, has in store for a job that is there."""
        scenario = self.run.scenario
        if scenario.cancels is not None and not self.gave_up:
            self.gives_up = scenario.cancels
        await self._give_up(process)
        await self._remove(process)
        if not scenario.closed_too_early or self.closed:
            return
        for row in await self.rows("video_job", "id, state"):
            if row["state"] == "submitted":
                error = JobError(code="provider_failed", message="It looked lost.")
                name = str(row["id"].id)
                await self.store.close_unfilled(name, JobState.FAILED, error, Grounds())
                self.closed = True

    async def _give_up(self, process: Simulated) -> None:
        if self.gives_up is None or not (jobs := await self.rows("video_job", "id")):
            return
        choice, self.gives_up = self.gives_up, None
        self.gave_up = True
        answer: object = None
        try:
            answer = await process.answer(cancel(process.services, str(jobs[0]["id"].id), choice))
        except TooLate as too_late:
            answer = too_late
            self.too_late = True
        except (Transient, RuntimeError):
            pass
        if answer is None:
            self.gives_up = choice  # the owner asks again

    async def _remove(self, process: Simulated) -> None:
        """The owner deletes what has ended, or an operator closes the owner's account."""
        scenario = self.run.scenario
        if scenario.closes and not self.account_closed and await self.rows("video_job", "id"):
            self.account_closed = await self.store.close_account(self.email)
        if not scenario.deletes or self.deleted:
            return
        ended = [each for each in await self.rows("video_job", "id, state") if _is_final(each)]
        answers = [
            await process.answer(
                process.http.delete(
                    f"/api/library/{each['id'].id}",
                    headers={"Authorization": f"Bearer {token(self.email)}"},
                )
            )
            for each in ended
        ]
        # A repeat after a lost answer is told that the job is not there.
        self.deleted = bool(ended) and all(each and each.status_code < 500 for each in answers)

    async def _post(self, process: Simulated) -> httpx.Response:
        order = {"templateSlug": "night-life-roller", "variables": {"BRAND": self._brand}}
        return await process.http.post(
            "/api/templates/video",
            headers={
                "Authorization": f"Bearer {token(self.email)}",
                "Idempotency-Key": f"order-{self.number}",
            },
            data={"data": json.dumps(order)},
            files={"startImage": ("start.png", png(), "image/png")},
        )

    # ------------------------------------------------------------------------------------- fal

    async def _fal_reports(self, process: Simulated) -> None:
        """Let every request at fal end, and hand over what is not taken yet."""
        for generation in list(self.rig.stage.queue.generations.values()):
            assert generation.life is not None
            endless = FalFault.DELAY in generation.plan or FalFault.QUEUE in generation.plan
            await asyncio.wait({generation.life}, timeout=0.01 if endless else BOUND_S)
            self._note(generation)
        for delivery in self._untaken():
            answer = await process.answer(self._deliver(process, delivery))
            delivery.taken = answer is not None and answer.is_success
            if process.halted.is_set():
                return

    def _note(self, generation: Generation) -> None:
        told = self.run.scenario.webhook
        known = generation.request_id in self.deliveries
        if known or generation.verdict is None or told is Webhook.LOST:
            return
        said: list[Json | None] = [
            *messages(generation.request_id, generation.verdict, generation.plan)
        ]
        if told is Webhook.POISONED:
            said.insert(0, None)
        self.deliveries[generation.request_id] = [Delivery(generation, each) for each in said]

    def _untaken(self) -> list[Delivery]:
        sent = (each for of_one in self.deliveries.values() for each in of_one)
        return [each for each in sent if not each.taken]

    async def _deliver(self, process: Simulated, delivery: Delivery) -> httpx.Response:
        """One attempt, signed as of now."""
        stale = self.run.scenario.webhook is Webhook.STALE
        plan = FaultPlan({FalFault.STALE: 0.0}) if stale else FaultPlan()
        body = b"\xff{" if delivery.message is None else encoded(delivery.message)
        generation = delivery.generation
        envelope = self.rig.stage.keys.seal(
            generation.request_id, self.rig.stage.settings.user_id, body, plan
        )
        assert generation.webhook_url is not None
        path = httpx.URL(generation.webhook_url).path
        return await process.http.post(path, content=envelope.body, headers=envelope.headers)

    # ------------------------------------------------------------------------------- the races

    async def _race(self, race: Race) -> None:
        """Everything at once, in another process, while one is held at the point it has reached."""
        rival = self._process()
        self.processes.insert(0, await rival.start())
        match race:
            case Race.DUPLICATE:
                await self._repeat_everything(rival)
            case Race.SWEEP:
                await self.rig.time_passes(leases=False)
                await rival.sweep()
            case Race.CANCEL:
                self.gives_up = list(IfFinished)[self.number % 2]
                await self._give_up(rival)
            case Race.NONE:
                pass
        await rival.quiet()

    async def _repeat_everything(self, rival: Simulated) -> None:
        again = [self._post(rival)]
        for of_one in self.deliveries.values():
            again += [self._deliver(rival, each) for each in of_one for _ in range(2)]
        await asyncio.gather(*(rival.answer(each) for each in again))


def _is_final(row: dict[str, Any]) -> bool:
    return row["state"] in FINAL


def _moves(row: dict[str, Any]) -> bool:
    """Whether a job has ended, or something will move it: a due time, or a person."""
    return row["state"] in FINAL or row["parked"] or row.get("due") is not None
