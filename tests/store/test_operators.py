"""What operators look at: pages of jobs, one job's record, the log of actions, pauses by hand."""

import re
from collections import Counter
from datetime import UTC, datetime

import pytest

from service.adapters.rows import account_record, job_record
from service.adapters.store import SurrealStore
from service.domain.errors import NotFound
from service.domain.job import JobState
from service.domain.operators import Door, JobFilter
from service.domain.pauses import Activity, Gate
from service.flows.late import successor_id
from tests.store import bench
from tests.store.bench import LONG_S, OWNER, delivery, job_in
from tests.store.test_due import index_scans

BEN = "ben@example.com"
SUBMITTING = Activity.SUBMITTING
DELAYS = (100.0, 200.0)
MANY = 20  # pages: more than there are
_SELECTION = re.compile(r"\(SELECT \*, time::now\(\).*?LIMIT \$limit\)", re.DOTALL)


async def pages(store: SurrealStore, size: int, **wanted: object) -> list[str]:
    """The ids on all pages of a list, one page after the other."""
    found: list[str] = []
    before = None
    for _ in range(MANY):
        asked = JobFilter(limit=size, before=before, **wanted)  # type: ignore[arg-type]
        page = [job.id for job in await store.list_jobs(asked)]
        found += page
        if len(page) < size:
            return found
        before = page[-1]
    raise AssertionError("the pages have no end")


async def overdue(store: SurrealStore, job_id: str, seconds: int) -> None:
    await store.database.write(
        "UPDATE $job SET due = time::now() - <duration>$ago",
        job=job_record(job_id),
        ago=f"{seconds}s",
    )


async def test_every_list_of_jobs_is_complete_and_in_order_page_by_page(
    store: SurrealStore,
) -> None:
    """Also where many were made at one instant, as those of the old system may have been."""
    made = [
        (await job_in(store, state, email=email)).id
        for state, email in [
            (JobState.READY, OWNER),
            (JobState.SUBMITTED, BEN),
            (JobState.READY, BEN),
            (JobState.SUBMITTED, OWNER),
            (JobState.READY, OWNER),
            (JobState.SUBMITTED, OWNER),
        ]
    ]
    for size in (1, 2, 4, 10):
        newest_first = made[::-1]
        assert await pages(store, size) == newest_first
        assert await pages(store, size, state=JobState.READY) == [made[4], made[2], made[0]]
        assert await pages(store, size, email=OWNER) == [made[5], made[4], made[3], made[0]]
        both = await pages(store, size, email=OWNER, state=JobState.SUBMITTED)
        assert both == [made[5], made[3]]


async def test_jobs_made_at_one_instant_are_each_on_one_page(store: SurrealStore) -> None:
    if not store.database.settings.embedded:
        pytest.skip("the identity may not delete, and 3.0.2 orders what is equal as it likes")
    made = sorted([(await job_in(store, JobState.READY)).id for _ in range(5)], reverse=True)
    # The field is fixed for good, so the rows are made anew.
    await store.database.write(
        "{ FOR $job IN (SELECT * FROM video_job) { DELETE $job.id; CREATE video_job CONTENT"
        " object::extend($job, { created_at: d'2026-01-01T00:00:00Z' }) } }"
    )
    for size in (1, 2, 3):
        assert await pages(store, size) == made
        assert await pages(store, size, state=JobState.READY) == made
        assert await pages(store, size, email=OWNER) == made


async def test_parked_and_due_jobs_are_listed_longest_first_page_by_page(
    store: SurrealStore,
) -> None:
    due = [(await job_in(store, JobState.SUBMITTED)).id for _ in range(4)]
    for ago, job_id in enumerate(due, start=1):
        await overdue(store, job_id, ago * 60)
    parked = [await job_in(store, JobState.SUBMITTED, email=BEN) for _ in range(3)]
    for job in parked[::-1]:
        await store.park(job, "odd")
    await job_in(store, JobState.SUBMITTED)  # not due yet
    for size in (1, 2, 10):
        assert await pages(store, size, due=True) == due[::-1]
        assert await pages(store, size, parked=True) == [job.id for job in parked[::-1]]
        assert await pages(store, size, due=True, email=BEN) == []
        assert await pages(store, size, parked=True, state=JobState.READY) == []


async def test_a_page_after_a_job_that_is_not_there_is_not_found(store: SurrealStore) -> None:
    for wanted in ({}, {"state": JobState.READY}, {"email": OWNER}, {"due": True}):
        with pytest.raises(NotFound):
            await store.list_jobs(JobFilter(limit=1, before="no-such-job", **wanted))


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("list_jobs", "video_job_created"),
        ("list_jobs_in_state", "video_job_state"),
        ("list_jobs_of", "video_job_owner"),
        ("list_parked_jobs", "video_job_parked"),
        ("list_due_jobs", "video_job_due"),
    ],
)
async def test_each_page_of_jobs_is_found_by_index(
    store: SurrealStore, query: str, index: str
) -> None:
    selections = _SELECTION.findall(store._queries[query])
    assert selections
    for each in selections:
        plan = await store.database.read(
            f"{each[1:-1]} EXPLAIN",
            limit=5,
            state="ready",
            account=account_record(OWNER),
            before=job_record("v1"),
            last=datetime.now(UTC),
        )
        assert index_scans(plan) == [index], plan


async def test_the_states_of_all_jobs_are_counted(store: SurrealStore) -> None:
    states = [JobState.READY, JobState.READY, JobState.FAILED, JobState.SUBMITTED]
    for each in states:
        await job_in(store, each)
    await store.write_off(bench.cost_of("v1x"))
    totals = await store.totals()
    assert totals.states == {each: Counter(states)[each] for each in JobState}
    assert totals.written_off == bench.PRICE


async def test_lists_have_the_size_of_a_body_and_not_the_body(store: SurrealStore) -> None:
    sent = delivery(body=b"x" * 1000)
    await store.record_delivery(sent, grace_s=LONG_S)
    await store.record_delivery(delivery(body=b"y"), grace_s=LONG_S)
    shown = await store.list_deliveries(limit=10)
    assert [each.size for each in shown] == [1000, 1]
    newest = await store.list_deliveries(recent=True, limit=10)
    assert [each.id for each in newest] == [each.id for each in reversed(shown)]


async def test_a_jobs_record_has_everything_that_is_its_own(store: SurrealStore) -> None:
    job = await job_in(store, JobState.READY)
    other = await job_in(store, JobState.READY)
    sent = delivery(job.id)
    await store.record_delivery(sent, grace_s=LONG_S)
    await store.record_delivery(delivery(other.id), grace_s=LONG_S)
    await store.write_off(bench.cost_of(job.id, request_id="second"))
    await store.write_off(bench.cost_of(other.id))
    await store.note_forgotten(job.id, bench.request_of(job.id))
    await store.note_action("a1", Door.CLI, "jobs.redrive", {}, changed=True, job_id=job.id)
    await store.note_action("a2", Door.CLI, "jobs.redrive", {}, changed=True, job_id=other.id)
    record = await store.job_record(job.id, successor_id(job.id))
    assert [each.id for each in record.deliveries] == [sent.entry_id]
    assert sorted(each.kind.value for each in record.ledger) == ["capture", "reserve"]
    assert [each.request_id for each in record.write_offs] == ["second"]
    assert record.forgotten.keys() == {bench.request_of(job.id)}
    assert record.in_library_since is not None
    assert len(record.actions) == 1
    assert (record.late_job, record.taken_over) == (None, False)
    with pytest.raises(NotFound):
        await store.job_record("no-such-job", "no-such-job-late")


async def test_a_jobs_record_names_the_job_that_delivers_its_late_video(
    store: SurrealStore,
) -> None:
    job = await job_in(store, JobState.FAILED)
    await bench.recover(store, job)
    record = await store.job_record(job.id, successor_id(job.id))
    assert record.late_job == successor_id(job.id)


async def test_actions_are_noted_once_and_the_latest_come_first(store: SurrealStore) -> None:
    for name in ("a1", "a2", "a1"):
        await store.note_action(
            name, Door.SOCKET, f"act {name}", {"why": "b"}, changed=False, job_id=None
        )
    found = await store.actions(10)
    assert [each.name for each in found] == ["act a2", "act a1"]
    assert (found[0].door, found[0].arguments, found[0].changed) == (
        Door.SOCKET,
        {"why": "b"},
        False,
    )
    assert len(await store.actions(1)) == 1


# -------------------------------------------------------------------------------- pauses by hand


async def gate(store: SurrealStore) -> Gate:
    return await store.gate(SUBMITTING, probe_s=LONG_S)


async def test_what_a_person_paused_is_shut_for_everybody_until_a_person_resumes_it(
    store: SurrealStore,
) -> None:
    assert await store.pause_by_hand(SUBMITTING, "a new key is coming")
    assert not await store.pause_by_hand(SUBMITTING, "a new key is coming"), "a repeat"
    await store.database.write("UPDATE pause SET until = time::now() - 1s")
    assert {await gate(store) for _ in range(3)} == {Gate.SHUT}, "nobody probes"
    [found] = await store.pauses()
    assert (found.manual, found.shut, found.reason) == (True, True, "a new key is coming")
    assert await store.gate(Activity.FINALISING, probe_s=LONG_S) is Gate.OPEN
    assert await store.resume_by_hand(SUBMITTING)
    assert not await store.resume_by_hand(SUBMITTING)
    assert await gate(store) is Gate.OPEN


@pytest.mark.parametrize("probed", [False, True])
async def test_no_probe_touches_a_pause_by_hand(
    store: SurrealStore,
    probed: bool,  # noqa: FBT001
) -> None:
    """One may be under way when the pause is made: whatever it finds, the pause stays."""
    await store.pause_by_hand(SUBMITTING, "by hand")
    before = await store.pauses()
    assert not await store.pause(SUBMITTING, "401", delays_s=DELAYS, probed=probed)
    assert not await store.resume(SUBMITTING)
    assert await store.pauses() == before


async def test_a_pause_of_the_services_own_becomes_one_by_hand(store: SurrealStore) -> None:
    await store.pause(SUBMITTING, "401", delays_s=DELAYS, probed=False)
    [own] = await store.pauses()
    assert await store.pause_by_hand(SUBMITTING, "stay out")
    [found] = await store.pauses()
    assert (found.since, found.manual, found.reason) == (own.since, True, "stay out")
    assert not await store.resume(SUBMITTING)


async def test_a_person_may_resume_what_the_service_paused(store: SurrealStore) -> None:
    await store.pause(SUBMITTING, "401", delays_s=DELAYS, probed=False)
    assert await store.resume_by_hand(SUBMITTING)
    assert await gate(store) is Gate.OPEN
    assert await store.pause(SUBMITTING, "401", delays_s=DELAYS, probed=False), "an alarm again"


async def test_a_process_from_before_takes_a_pause_by_hand_for_a_very_long_one(
    store: SurrealStore,
) -> None:
    await store.pause_by_hand(SUBMITTING, "by hand")
    years = await store.database.read(
        "SELECT VALUE duration::years(until - time::now()) FROM pause"
    )
    assert years[0] > 50
