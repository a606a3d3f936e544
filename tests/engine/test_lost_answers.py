"""Each write whose answer is lost after its commit: made once, and its repeat answers usefully.

What may not be repeated says that it does not know, and has happened once at most.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from service.adapters.store import SurrealStore
from service.domain.errors import Transient
from service.domain.job import Job, JobState
from service.domain.templates import Template
from service.ports import Applied, Reserved, Settled
from tests.engine.proxy import Fault, Proxy
from tests.store import bench
from tests.store.bench import LONG_S, OWNER, PRICE, delivery, job_in

Call = Callable[[SurrealStore, Job], Awaitable[Any]]

TEMPLATE = Template(
    slug="night", title="Night", prompt="{{A}}", provider="seedance", duration_s=5, options={}
)
OTHER = bench.new_job("v1other")


@dataclass(frozen=True)
class Write:
    """A write, the state its job is in before, and what its second answer has to be."""

    name: str
    call: Call
    answer: Any
    before: JobState = JobState.RENDERED

    def __str__(self) -> str:
        return self.name


async def granted(store: SurrealStore, _: Job) -> tuple[int, int, int, int]:
    return bench.amounts(await store.grant(OWNER, 5, "once"))


REPEATABLE = [
    Write("grant", granted, (5, PRICE, 0, PRICE + 5)),
    Write("save_template", lambda s, _: s.save_template(TEMPLATE), None),
    Write("reserve", lambda s, _: bench.reserve(s, OTHER), Reserved.EXISTS),
    Write("record_submission", bench.record, answer=True, before=JobState.SUBMITTING),
    Write(
        "apply_rendered", lambda s, j: bench.rendered(s, j.id), Applied.REPEAT, JobState.SUBMITTED
    ),
    Write("close_unfilled", lambda s, j: bench.close(s, j.id), Applied.REPEAT, JobState.SUBMITTED),
    Write("heartbeat", lambda s, j: s.heartbeat(j.id, j.fence, lease_s=LONG_S), answer=True),
    Write("new_source", lambda s, j: s.new_source(j.id, j.fence, "https://x/y"), answer=True),
    Write("settle_ready", bench.settle, Settled.ALREADY),
    Write(
        "count_lookup",
        lambda s, j: s.count_lookup(j, apart_s=LONG_S, again_in_s=LONG_S),
        answer=1,
        before=JobState.SUBMIT_UNKNOWN,
    ),
    # False: it had been done before. Whoever asks goes on as if another process had done it.
    Write("add_template", lambda s, _: s.add_template(TEMPLATE), answer=False),
    Write("submission_unknown", bench.unknown, answer=False, before=JobState.SUBMITTING),
    Write("submission_void", bench.void, answer=False, before=JobState.SUBMITTING),
    Write("give_back", bench.give_back, answer=False),
    Write("park", lambda s, j: s.park(j, "why", leased=True), answer=False),
    Write("make_due", lambda s, j: s.make_due(j.id), answer=False, before=JobState.SUBMITTED),
    Write("record_delivery", lambda s, _: s.record_delivery(delivery(), grace_s=9), answer=False),
]

# Only their winner may act, or each repeat would take more: nobody is told, the row's time comes.
ONCE = [
    Write(
        "begin_submission",
        lambda s, j: bench.begin(s, j.id),
        ("submit_attempts", 1),
        JobState.RESERVED,
    ),
    Write("due_jobs", lambda s, _: s.due_jobs(10, (LONG_S,)), ("sweeps", 1), JobState.SUBMITTED),
    Write("lease", lambda s, j: s.lease(j.id, "us", lease_s=LONG_S), ("fence", 2)),
]


async def prepared(store: SurrealStore, write: Write) -> Job:
    """A job in the state the write starts from; the owner can afford one more."""
    job = await job_in(store, write.before)
    if write.name == "reserve":
        await bench.grant(store, OTHER.credits)
    if write.name in {"lease", "due_jobs"}:
        await store.database.write("UPDATE video_job SET due = time::now(), lease_until = NONE")
    return job


async def facts(store: SurrealStore, job: Job) -> tuple[Any, ...]:
    """All that a second execution would have changed once more."""
    row = await bench.row(store, job.id)
    changing = {"due", "lease_until", "updated_at", "created_at", "account", "finished_at"}
    return (
        {name: value for name, value in row.items() if name not in changing and "_at" not in name},
        await bench.credits_of(store),
        await bench.ledger_kinds(store),
        await store.database.read("RETURN count(SELECT VALUE id FROM inbox)"),
    )


@pytest.mark.parametrize("write", REPEATABLE, ids=str)
async def test_a_write_whose_answer_was_lost_is_made_once_and_repeated_usefully(
    stores: list[SurrealStore], far: SurrealStore, proxy: Proxy, write: Write
) -> None:
    """F37: it committed, the answer was lost, it is sent again: one effect, a useful answer."""
    near = stores[0]
    job = await prepared(near, write)
    await far.database.read("RETURN 1")
    proxy.faults = [Fault.ANSWER_LOST]

    answer = await write.call(far, job)

    assert (proxy.lost, answer) == (1, write.answer)
    once = await facts(near, job)
    assert await write.call(near, job) == write.answer, "another repeat answers the same"
    assert await facts(near, job) == once
    assert await bench.violations(near) == []


@pytest.mark.parametrize("write", ONCE, ids=str)
async def test_a_move_whose_answer_was_lost_is_not_made_again(
    stores: list[SurrealStore], far: SurrealStore, proxy: Proxy, write: Write
) -> None:
    """F37: it committed and nobody knows; the caller hears so, and its own time finds the row."""
    near = stores[0]
    job = await prepared(near, write)
    await far.database.read("RETURN 1")
    proxy.faults = [Fault.ANSWER_LOST]

    with pytest.raises(Transient):
        await write.call(far, job)

    row = await bench.row(near, job.id)
    field, value = write.answer
    assert (proxy.lost, row[field]) == (1, value)
    assert row["due"] is not None, "the sweep finds it"
    assert await bench.violations(near) == []
