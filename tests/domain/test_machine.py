"""Any order of moves, on a real engine: money adds up and states move only along NEXT.

The moves are drawn without looking at the state, so most sequences hold moves that must be
refused, repeated answers, answers to earlier attempts, and holders of leases long lost.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from service.adapters.audit_store import SurrealAuditStore
from service.adapters.migrate import find_migrations, migrate
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from service.domain.audit import AuditJob
from service.domain.errors import IdempotencyConflict
from service.domain.job import FINAL, NEXT, IfFinished, Job, JobState
from service.domain.write_offs import Reason
from service.flows.audit import audit
from service.ports import Applied, Grounds, Recovered, Reserved, Settled
from tests.parts import thorough
from tests.store import bench
from tests.store.bench import BROKEN, LONG_S, TABLES

T = TypeVar("T")

OWNERS: Final = ("ana@example.com", "ben@example.com")
JOBS: Final = ("v0", "v1", "v2")  # the second is ben's
LATE: Final = {job_id: bench.successor(job_id).job_id for job_id in JOBS}
REQUESTS: Final = ("r1", "r2")
ENDINGS: Final = (JobState.FAILED, JobState.CANCELLED)

jobs = st.sampled_from(JOBS)
all_jobs = st.sampled_from((*JOBS, *LATE.values()))
requests = st.sampled_from(REQUESTS)
wishes = st.sampled_from([None, *IfFinished])
endings = st.sampled_from([None, *ENDINGS])


class Engine:
    """One migrated engine and the loop it lives in, for all examples."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        settings = DatabaseSettings(url="mem://", namespace="tests", database="machine")
        self.database = Database(settings)
        self.run(migrate(self.database, find_migrations(), report=lambda _: None))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.database.close())
        self.loop.close()


engines: list[Engine] = []


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    engines.append(Engine())
    yield
    engines.pop().close()


class Watched(SurrealAuditStore):
    """Remembers the jobs that the audit read."""

    seen: Sequence[AuditJob] = ()

    async def audit_jobs(self, after: str | None, limit: int) -> list[AuditJob]:
        if after is not None:
            return []  # there are fewer jobs than a page holds
        found = await super().audit_jobs(after, limit)
        self.seen = found
        return found


class Moves(RuleBasedStateMachine):
    """Two accounts, three jobs, and everything that the flows do to them, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = engines[-1]
        self.store = SurrealStore(self.engine.database)
        self.watched = Watched(self.engine.database)
        wipe = "{ " + " ".join(f"DELETE {table};" for table in TABLES) + " }"
        self.engine.run(self.engine.database.write(wipe))
        self.states: dict[str, JobState] = {}
        self.seen: dict[str, Job] = {}  # as last read: what a slow process still believes
        self.prices: dict[str, int] = {}
        self.wishes: dict[str, IfFinished] = {}  # the last word of an owner who cancelled
        self.costs: dict[tuple[str, str], int] = {}  # what is written off

    def job(self, job_id: str) -> Job | None:
        return self.seen.get(job_id)

    @initialize(steps=st.integers(1, 8), wish=wishes, ending=endings)
    def start_with_some_credit_and_two_jobs(
        self, steps: int, wish: IfFinished | None, ending: JobState | None
    ) -> None:
        """One of them anywhere in its life: moves on jobs that are not there teach little."""
        for owner in OWNERS:
            self.engine.run(bench.grant(self.store, 10, owner))
        self.step("v1", None, None)
        self.rows_money_and_moves_are_right()
        self.go_on("v0", steps, wish, ending)

    @rule(owner=st.sampled_from(OWNERS), amount=st.integers(1, 9), name=st.integers(0, 3))
    def grant(self, owner: str, amount: int, name: int) -> None:
        with contextlib.suppress(IdempotencyConflict):  # of another amount under the same name
            self.engine.run(self.store.grant(owner, amount, f"{owner}-{name}"))

    @rule(job_id=jobs, credits_=st.sampled_from([0, 3, 7]), most=st.integers(1, 3))
    def reserve(self, job_id: str, credits_: int, most: int) -> None:
        owner = OWNERS[JOBS.index(job_id) % 2]
        new = bench.new_job(job_id, email=owner, credits=credits_)
        reserved = self.store.reserve(new, max_in_flight=most, grace_s=LONG_S)
        if self.engine.run(reserved) is Reserved.RESERVED:
            self.prices[job_id] = credits_

    @rule(job_id=all_jobs)
    def look(self, job_id: str) -> None:
        if job_id in self.states:
            self.seen[job_id] = self.engine.run(self.store.job(job_id))

    @rule(job_id=jobs)
    def begin(self, job_id: str) -> None:
        begun = self.engine.run(bench.begin(self.store, job_id))
        if begun is not None:
            self.seen[job_id] = begun

    @rule(job_id=jobs, request_id=requests)
    def record(self, job_id: str, request_id: str) -> None:
        if job := self.job(job_id):
            self.engine.run(bench.record(self.store, job, request_id))

    @rule(job_id=jobs)
    def unknown(self, job_id: str) -> None:
        if job := self.job(job_id):
            self.engine.run(bench.unknown(self.store, job))

    @rule(job_id=jobs)
    def void(self, job_id: str) -> None:
        if job := self.job(job_id):
            self.engine.run(bench.void(self.store, job))

    @rule(job_id=jobs, request_id=requests, url=st.sampled_from([None, "https://x/y"]))
    def rendered(self, job_id: str, request_id: str, url: str | None) -> None:
        match self.engine.run(bench.rendered(self.store, job_id, request_id, url)):
            case Applied.RENDERED:
                assert self.wishes.get(job_id) is not IfFinished.DISCARD
            case Applied.UNWANTED:
                assert self.wishes[job_id] is IfFinished.DISCARD
            case Applied.SURPLUS:
                self.costs.setdefault((job_id, request_id), self.prices[job_id])
            case Applied.LATE:
                assert self.states[job_id] in ENDINGS
            case _:
                pass

    @rule(job_id=jobs, choice=st.sampled_from(IfFinished))
    def request_cancel(self, job_id: str, choice: IfFinished) -> None:
        if self.engine.run(self.store.request_cancel(job_id, choice)):
            assert self.states[job_id] not in FINAL | {JobState.RENDERED}
            self.wishes[job_id] = choice

    @rule(job_id=jobs, request_id=requests)
    def cancel_accepted(self, job_id: str, request_id: str) -> None:
        self.engine.run(self.store.cancel_accepted(job_id, request_id, grace_s=LONG_S))

    @rule(job_id=jobs, request_id=requests)
    def recover(self, job_id: str, request_id: str) -> None:
        if job_id not in self.states:
            return
        self.look(job_id)
        match self.engine.run(bench.recover(self.store, self.seen[job_id], request_id)):
            case Recovered.RECOVERED:
                assert self.states[job_id] in ENDINGS
                assert LATE[job_id] not in self.states
                assert self.wishes.get(job_id) is not IfFinished.DISCARD
            case Recovered.REPEAT:
                assert LATE[job_id] in self.states
            case Recovered.UNWANTED:
                assert self.wishes[job_id] is IfFinished.DISCARD
            case _:
                pass

    @rule(job_id=jobs, request_id=requests, reason=st.sampled_from(Reason))
    def write_off(self, job_id: str, request_id: str, reason: Reason) -> None:
        cost = bench.cost_of(job_id, reason, request_id)
        if self.engine.run(self.store.write_off(cost)):
            assert (job_id, request_id) not in self.costs
            self.costs[job_id, request_id] = cost.credits

    @rule(job_id=all_jobs)
    def redrive(self, job_id: str) -> None:
        self.engine.run(self.store.redrive(job_id))

    @rule(job_id=all_jobs, lease_s=st.sampled_from([0.0, LONG_S]))
    def lease(self, job_id: str, lease_s: float) -> None:
        leased = self.engine.run(self.store.lease(job_id, "tests", lease_s=lease_s))
        if leased is not None:
            self.seen[job_id] = leased

    @rule(job_id=jobs, counted=st.booleans())
    def give_back(self, job_id: str, *, counted: bool) -> None:
        if job := self.job(job_id):
            self.engine.run(self.store.give_back(job, "later", retry_in_s=1, counted=counted))

    @rule(job_id=all_jobs)
    def settle(self, job_id: str) -> None:
        if job := self.job(job_id):
            outcome = self.engine.run(bench.settle(self.store, job))
            if outcome is Settled.SETTLED:
                assert self.states[job_id] is JobState.RENDERED

    @rule(
        job_id=all_jobs,
        to=st.sampled_from(ENDINGS),
        request_id=st.sampled_from([None, *REQUESTS]),
        attempt=st.sampled_from([None, 1, 2]),
        fenced=st.booleans(),
    )
    def close(
        self,
        job_id: str,
        to: JobState,
        request_id: str | None,
        attempt: int | None,
        *,
        fenced: bool,
    ) -> None:
        job = self.job(job_id)
        fence = job.fence if fenced and job is not None else None
        grounds = Grounds(attempt=attempt, fence=fence, request_id=request_id)
        self.engine.run(self.store.close_unfilled(job_id, to, BROKEN, grounds))

    @rule(job_id=all_jobs, fresh=st.booleans(), leased=st.booleans())
    def park(self, job_id: str, *, fresh: bool, leased: bool) -> None:
        if fresh:
            self.look(job_id)
        if job := self.job(job_id):
            self.engine.run(self.store.park(job, "odd", leased=leased))

    @rule(job_id=jobs, steps=st.integers(1, 8), wish=wishes, ending=endings)
    def go_on(
        self, job_id: str, steps: int, wish: IfFinished | None, ending: JobState | None
    ) -> None:
        """The ordinary next steps, so that sequences also get far."""
        for _ in range(steps):
            late = LATE[job_id]
            self.step(late if late in self.states else job_id, wish, ending)
            self.rows_money_and_moves_are_right()

    def step(self, job_id: str, wish: IfFinished | None, ending: JobState | None) -> None:
        match self.states.get(job_id):
            case None:
                self.reserve(job_id, 3, 3)
            case JobState.RESERVED:
                self.begin(job_id)
            case JobState.SUBMITTING | JobState.SUBMIT_UNKNOWN:
                self.look(job_id)
                self.record(job_id, "r1")
            case JobState.SUBMITTED:
                self.end(job_id, wish, ending)
            case JobState.RENDERED:
                self.lease(job_id, LONG_S)
                self.settle(job_id)
            case JobState.FAILED | JobState.CANCELLED if job_id in LATE:
                self.look(job_id)
                self.recover(job_id, "r1")
            case JobState.READY | JobState.FAILED | JobState.CANCELLED:
                self.look(job_id)

    def end(self, job_id: str, wish: IfFinished | None, ending: JobState | None) -> None:
        if wish is not None:
            self.request_cancel(job_id, wish)
        if ending is None:
            self.rendered(job_id, "r1", None)
        else:
            self.close(job_id, ending, "r1", None, fenced=False)

    @invariant()
    def rows_money_and_moves_are_right(self) -> None:
        """Each rule makes at most one move, so between two looks there is at most one step."""
        report = self.engine.run(audit(self.watched, None))
        assert report.violations == []
        assert report.jobs == len(self.watched.seen)
        assert report.written_off == sum(self.costs.values())
        for row in self.watched.seen:
            before = self.states.get(row.id)
            if before is None:
                is_late = row.id in LATE.values()
                assert row.state is (JobState.RENDERED if is_late else JobState.RESERVED)
            elif row.state is not before:
                assert row.state in NEXT[before], f"{before} -> {row.state}"
            if row.parked:
                assert row.due is None, "a parked job is never due"
            self.states[row.id] = row.state


class MovesAtLength(Moves):
    """The same, with as much chance as one is willing to wait for."""


ALWAYS: Final = settings(
    deadline=None,
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    print_blob=False,
)
EXAMPLES: Final = 30 if thorough() else 10
# Every day the same sequences, so that a failure is the change's; new ones in the long run.
Moves.TestCase.settings = settings(ALWAYS, max_examples=EXAMPLES, derandomize=True)
MovesAtLength.TestCase.settings = settings(ALWAYS, max_examples=500)
TestMoves = Moves.TestCase
TestMovesAtLength = pytest.mark.long(pytest.mark.timeout(3600)(MovesAtLength.TestCase))
