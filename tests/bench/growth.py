"""B8: what a call costs with a million finished jobs in the table, and with ten thousand."""

import asyncio
import contextlib
import os
import re
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from service.adapters.rows import account_record, inbox_record, job_record
from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from service.domain.errors import Transient
from service.domain.job import JobState
from service.domain.policy import SWEEP_BATCH
from service.wiring import prepare
from tests.bench.effort import Effort
from tests.bench.filling import fill
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, count_of, figure, ratio_of
from tests.bench.stand import busy_s
from tests.engine.server import Engine, running_engine
from tests.store import bench
from tests.store.bench import LONG_S, OWNER, delivery, job_in
from tests.world import eventually

SIZES: Final = (10_000, 100_000, 1_000_000)
QUICK_MOST: Final = 4_000
TARGET: Final = 1.3
CALLS: Final = 60  # in a turn, or as many as there is time for
DUE: Final = 5  # jobs that are due at a scan
RESTED_WITHIN_S: Final = 120.0
REST_SHARE: Final = 0.05
LARGE: Final = re.compile(r"FROM (video_job|inbox|ledger|library)\b")


@dataclass(kw_only=True, slots=True)
class Table:
    """A database with so many finished jobs, and the few that something is to be done about."""

    size: int
    store: SurrealStore
    engine: int  # its process
    rendered: str = ""
    reserved: str = ""
    entry: str = ""
    calls: int = 0
    work_s: dict[str, list[float]] = field(default_factory=dict)  # the engine's, per call
    slow: set[str] = field(default_factory=set)  # what was not answered in time

    @property
    def finished(self) -> str:
        """Another one of the finished jobs with every call, from all over the table."""
        self.calls += 1
        return f"f{self.calls * 7_919 % self.size}x"


async def ack(table: Table) -> None:
    message = delivery(table.finished, b'{"number":%d}' % table.calls)
    assert await table.store.record_delivery(message, grace_s=LONG_S)


async def status(table: Table) -> None:
    assert (await table.store.job(table.finished)).state is JobState.READY


async def due_scan(table: Table) -> None:
    """What a sweep looks for; what it finds is due again at once."""
    store = table.store
    await store.due_deliveries(SWEEP_BATCH, retry_in_s=0)
    assert len(await store.due_jobs(SWEEP_BATCH, (0.0,))) >= DUE
    await store.due_removals(SWEEP_BATCH)
    await store.due_thumbnails(SWEEP_BATCH, attempts=3, age_s=LONG_S, retry_in_s=LONG_S)


async def lease(table: Table) -> None:
    assert await table.store.lease(table.rendered, "bench", lease_s=0)


async def take(table: Table) -> None:
    assert await table.store.take_delivery(table.entry, retry_in_s=LONG_S)


async def begin(table: Table) -> None:
    assert await bench.begin(table.store, table.reserved)


CALLED: Final = {
    "ack": ack,
    "status read": status,
    "due-scan of a sweep": due_scan,
    "claim of a finalisation": lease,
    "claim of a delivery": take,
    "claim of a submission": begin,
}


async def measure(effort: Effort) -> list[Result]:
    """One engine with a database for each size, asked in turns."""
    most = int(os.environ.get("BENCH_ROWS", max(SIZES) if effort.scale == 1 else QUICK_MOST))
    sizes = sorted({min(effort.sized(each), most) for each in SIZES})
    async with contextlib.AsyncExitStack() as stack:
        folder = effort.folder / "engine"
        engine = await stack.enter_async_context(running_engine(folder, synced=False))
        started = time.monotonic()
        tables = [await stack.enter_async_context(filled(engine, size)) for size in sizes]
        fill_s = time.monotonic() - started
        await at_rest(tables[0].engine)
        results = [await _grown(what, tables, effort, fill_s) for what in CALLED]
        return [*results, await _scans(tables[0].store, "the server")] + await _embedded_scans()


async def _grown(what: str, tables: Sequence[Table], effort: Effort, fill_s: float) -> Result:
    ways = {
        f"{what}, {each.size:,}": lambda each=each: turn(each, what, effort.seconds)
        for each in tables
    }
    found = await in_turns(ways, pairs=effort.pairs)
    least, *others = ways
    ratios = {
        name: statistics.median(ours / theirs for ours, theirs in paired(found, name, least))
        for name in others
    }
    # The first turn is no part of any pair.
    work = [sum(each.work_s[what][1:]) for each in tables]
    grown = [each / work[0] if work[0] else float("nan") for each in work[1:]]
    told = "; ".join(
        f"with {each.size:,} {figure(ratio)} times; the engine's time {figure(more)} times"
        + (" (not answered in time)" if what in each.slow else "")
        for each, ratio, more in zip(tables[1:], ratios.values(), grown, strict=True)
    )
    result = ratio_of(
        "B8",
        f"{what}: {tables[-1].size:,} finished jobs over {tables[0].size:,}",
        paired(found, list(ways)[-1], least),
        names=(f"{tables[-1].size:,} jobs", f"{tables[0].size:,} jobs"),
        unit="ms",
        want="<=",
        target=TARGET,
        notes=f"{told}. Filled in {fill_s:.0f} s; a delivery and two ledger entries to a job. "
        "RocksDB that does not wait for the disk, which would hide what grows.",
    )
    calls = {f"{each.size}": each.work_s[what][1:] for each in tables}
    return replace(result, details={"ms": found, "engine_s_per_call": calls})


async def turn(table: Table, what: str, seconds: float) -> float:
    """The median of many single calls, in milliseconds."""
    ended = time.monotonic() + seconds
    took: list[float] = []
    used_s = 0.0
    while len(took) < CALLS and (not took or time.monotonic() < ended):
        await _reset(table, what)
        busy, at = busy_s(table.engine), time.perf_counter()
        try:
            await CALLED[what](table)
        except Transient:  # as slow as the patience with it is long
            table.slow.add(what)
        took.append(time.perf_counter() - at)
        used_s += busy_s(table.engine) - busy
    await _tidy(table, what)
    table.work_s.setdefault(what, []).append(used_s / len(took))
    return statistics.median(took) * 1000


async def _reset(table: Table, what: str) -> None:
    """What was begun is to be begun again."""
    if what == "claim of a submission":
        job = job_record(table.reserved)
        await table.store.database.write("UPDATE $job SET state = 'reserved'", job=job)


async def _tidy(table: Table, what: str) -> None:
    """Acknowledged is handled, as it would be moments later; nothing goes on in the engine."""
    if what == "ack":
        await table.store.database.write(
            "UPDATE inbox SET handled_at = time::now(), due = NONE, outcome = 'repeat' "
            "WHERE due > d'1970-01-01T00:00:00Z' AND id != $kept",
            kept=inbox_record(table.entry),
        )
    if what in table.slow:
        await at_rest(table.engine)


@contextlib.asynccontextmanager
async def filled(engine: Engine, size: int) -> AsyncIterator[Table]:
    """A new database there, with so many finished jobs and what belongs to them."""
    assert engine._process is not None
    database = Database(replace(engine.settings(), call_timeout_s=60.0))
    await database.open()
    try:
        store = SurrealStore(database)
        await prepare(store, report=lambda _: None)
        job = await job_in(store, JobState.READY)
        message = delivery(job.id)
        await store.record_delivery(message, grace_s=LONG_S)
        await store.close_delivery(message.entry_id, "rendered")
        await fill(store, size)
        table = Table(size=size, store=store, engine=engine._process.pid)
        await _to_do(table)
        yield table
    finally:
        await database.close()


async def _to_do(table: Table) -> None:
    store = table.store
    due = [job_record((await job_in(store, JobState.SUBMITTED)).id) for _ in range(DUE)]
    table.rendered = (await job_in(store, JobState.RENDERED)).id
    table.reserved = await bench.reserved_id(store)
    await store.database.write("UPDATE $jobs SET due = time::now()", jobs=due)
    await store.database.write("UPDATE $job SET lease_until = NONE", job=job_record(table.rendered))
    message = delivery(table.rendered)
    await store.record_delivery(message, grace_s=LONG_S)
    table.entry = message.entry_id


async def at_rest(engine: int) -> None:
    """Return once the engine has nothing left to do, such as compacting what was written."""

    async def look() -> bool | None:
        before, at = busy_s(engine), time.monotonic()
        await asyncio.sleep(1)
        share = (busy_s(engine) - before) / (time.monotonic() - at)
        return True if share <= REST_SHARE else None

    await eventually(look, RESTED_WITHIN_S)


async def _embedded_scans() -> list[Result]:
    """The embedded engine is another version, and plans otherwise."""
    database = Database(DatabaseSettings(url="mem://", namespace="bench", database="plans"))
    await database.open()
    try:
        store = SurrealStore(database)
        await prepare(store, report=lambda _: None)
        return [await _scans(store, "the embedded engine")]
    finally:
        await database.close()


async def _scans(store: SurrealStore, engine: str) -> Result:
    """Selections from a large table that would read all of it, by the engine's own plans."""
    params = {
        "job": job_record("f1x"),
        "recovers": job_record("f1x"),
        "account": account_record(OWNER),
        "state": "submitted",
        "limit": 5,
        "max_at_fal": 5,
        "skip": 0,
    }
    scans = set()
    for name, text in store._queries.items():
        for each in filter(LARGE.search, selections(text)):
            if "TableScan" in str(await store.database.read(f"{each} EXPLAIN", **params)):
                scans.add(name)
    return count_of(
        "B8",
        f"queries that {engine} answers by reading a whole table",
        len(scans),
        unit="queries",
        want="<=",
        target=0,
        notes=", ".join(sorted(scans)),
    )


def selections(query: str) -> list[str]:
    """Each SELECT of a query, those inside another one too."""
    found = []
    for at in [match.start() for match in re.finditer(r"\bSELECT\b", query)]:
        depth, end = 1, at
        while end < len(query) and depth:
            depth += {"(": 1, ")": -1}.get(query[end], 0)
            end += 1
        found.append(query[at : end if depth else end - 1].strip().rstrip(";"))
    return found
