"""Readiness: cheap and in time whatever hangs; and when the canary's word counts for it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.adapters.surreal import DatabaseSettings
from service.adapters.surreal_connection import Connection
from service.doctor.canary import fly, small_loads
from service.doctor.canary_answers import way_of
from service.doctor.watch import Pace, Suspicion, running_canary
from service.domain.canary import Finding, Outcome
from service.ports import SILENT
from service.sandbox.object_store import ObjectStore
from service.web import health
from service.web.health import Health
from tests.doctor.conftest import Place
from tests.web.deliveries import inbox
from tests.web.forms import check_problem
from tests.world import World, eventually, open_world

QUICK = Pace(interval_s=0.05, hold_s=0.3)
WRONG = Finding(outcome=Outcome.WRONG, seen="another service answers", fix="mend it")
PASSED = Finding(outcome=Outcome.PASSED, seen="arrived")
UNKNOWN = Finding(outcome=Outcome.UNKNOWN, seen="nobody listens", fix="start it")


@asynccontextmanager
async def watching(world: World, pace: Pace = QUICK) -> AsyncIterator[None]:
    """What `fal-video web` does, in a hurry."""
    way, started = way_of(world.settings), asyncio.Event()
    started.set()
    async with running_canary(
        lambda: fly(way, small_loads()), world.app.state.health, SILENT, pace, started
    ):
        yield


@pytest.mark.parametrize(
    ("mistake", "seen"),
    [("redirecting", "redirects a delivery (308)"), ("wrong host, 404", "another service")],
)
async def test_a_wrong_webhook_address_fails_readiness_and_the_sweep_ends_the_jobs(
    place: Place, s3: ObjectStore, mistake: str, seen: str
) -> None:
    """F14, F41: no delivery arrives, not one job is lost, and /health/ready says why."""
    wrong = {"PUBLIC_BASE_URL": place.proxies[mistake]}
    async with open_world(s3, wrong) as world, watching(world, Pace(interval_s=0.05)):
        checks = check_problem(await world.readiness(503), 503, "not_ready")["checks"]
        assert seen in checks.pop("webhook")
        assert set(checks.values()) == {"ok"}

        await world.grant(100)
        job_id = await world.submit()
        await eventually(lambda: refused(world))
        await world.sweep()
        await world.until(job_id, "completed")
        assert await inbox(world, job_id) == []
        assert (await world.audit()).violations == []


async def refused(world: World) -> bool | None:
    """Whether fal has tried its webhook; and it was not us who answered."""
    requests = await world.requests()
    statuses = [each["status"] for request in requests for each in request["deliveries"]]
    assert 200 not in statuses
    return bool(statuses) or None


async def test_the_canary_of_a_right_address_is_part_of_readiness(place: Place) -> None:
    async with watching(place.world):

        async def passed() -> bool | None:
            checks = (await place.world.readiness(200)).json()["checks"]
            return checks["webhook"] == "ok" or None

        await eventually(passed)


# ------------------------------------------------------------------------------ when it counts


class Board:
    """What readiness would be told."""

    def __init__(self) -> None:
        self.good = True
        self.told: list[tuple[str, bool]] = []

    def webhook(self, found: str, *, good: bool) -> None:
        self.good = good
        self.told.append((found, good))


async def told(findings: list[Finding], pace: Pace = QUICK) -> list[bool]:
    """Whether the process is ready after each of these flights."""
    board, started, left = Board(), asyncio.Event(), iter(findings)

    async def send() -> Finding:
        found = next(left, None)
        return found or await asyncio.get_running_loop().create_future()

    started.set()
    async with running_canary(send, board, SILENT, pace, started):
        await eventually(lambda: enough(board, len(findings)))
    return [good for _, good in board.told]


async def enough(board: Board, count: int) -> bool | None:
    return len(board.told) >= count or None


async def test_a_wrong_answer_counts_when_it_is_still_there_at_the_second_look() -> None:
    pace = Pace(interval_s=0.01)
    assert await told([WRONG, WRONG, WRONG], pace) == [True, False, False]
    assert await told([WRONG, PASSED, WRONG], pace) == [True, True, True]


@pytest.mark.parametrize("after", [PASSED, UNKNOWN], ids=["passed", "unknown"])
async def test_no_answer_never_counts_and_ends_what_counted(after: Finding) -> None:
    pace = Pace(interval_s=0.01)
    assert await told([UNKNOWN, UNKNOWN, UNKNOWN], pace) == [True, True, True]
    assert await told([WRONG, WRONG, after, WRONG], pace) == [True, False, True, True]


def test_a_wrong_answer_counts_for_a_while_only_and_then_has_to_be_seen_anew() -> None:
    pace = Pace(interval_s=600)
    suspicion, now_s, ready_s, longest_s = Suspicion(pace), 0.0, 0.0, 0.0
    for _ in range(100):
        wait_s = suspicion.hear(Outcome.WRONG, now_s)
        now_s += wait_s
        ready_s = 0.0 if suspicion.counts else wait_s
        longest_s = 0.0 if ready_s else longest_s + wait_s
        assert longest_s <= pace.hold_s + pace.retry_s
        if not suspicion.counts:
            assert ready_s == pace.settle_s, "long enough for a proxy to learn of it"


async def test_a_proxy_that_answers_wrongly_because_nobody_is_ready_locks_nothing_up() -> None:
    """It learns late who is ready; until then it answers 404 itself, as some do."""
    board, started, seen = Board(), asyncio.Event(), [False]
    passed = asyncio.Event()

    async def send() -> Finding:
        behind, seen[0] = seen[0], board.good  # what it knows is one look old
        if behind:
            passed.set()
        return PASSED if behind else WRONG

    started.set()
    async with running_canary(send, board, SILENT, QUICK, started), asyncio.timeout(20):
        await passed.wait()
        board.good = seen[0] = False  # and once more, from the worst there can be
        passed.clear()
        await passed.wait()


async def test_what_changes_is_logged_once_and_a_bug_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await told(
        [PASSED, PASSED, UNKNOWN, UNKNOWN, WRONG, WRONG, WRONG, PASSED], Pace(interval_s=0.01)
    )
    lines = [each for each in caplog.records if each.name == "service.doctor.watch"]
    assert [each.levelno for each in lines] == [
        logging.INFO,
        logging.WARNING,
        logging.WARNING,  # suspected
        logging.ERROR,  # counts
        logging.INFO,
    ]
    board, started, bugs = Board(), asyncio.Event(), iter([ZeroDivisionError()])

    async def send() -> Finding:
        for bug in bugs:
            raise bug
        return PASSED

    started.set()
    async with running_canary(send, board, SILENT, QUICK, started):
        await eventually(lambda: enough(board, 2))
    assert [found for found, _ in board.told][:2] == ["not known: the canary was not sent", "ok"]


# ------------------------------------------------------------------------------ cheap, and in time


@asynccontextmanager
async def silent_database(world: World) -> AsyncIterator[None]:
    """While the body runs, the database takes connections and says nothing."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = world.runtime.store.database
    nowhere = DatabaseSettings(
        url=f"ws://127.0.0.1:{port}", namespace="n", database="d", call_timeout_s=2.0
    )
    real, database._connections = database._connections, [Connection(nowhere)]
    try:
        yield
    finally:
        database._connections = real
        for writer in held:
            writer.transport.abort()
        server.close()


async def test_a_database_that_hangs_is_named_in_time_and_asked_once_by_a_flood(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert health.ANSWER_S < 5, "what probes wait"
    monkeypatch.setattr(health, "ANSWER_S", 0.5)
    database = place.world.runtime.store.database
    hanging = Health(place.world.runtime)
    async with silent_database(place.world):
        calls, began = database.calls, time.monotonic()
        answers = await asyncio.gather(*(hanging.look() for _ in range(200)))
        took_s = time.monotonic() - began
        assert database.calls - calls == 3, "database, migrations and inbox, each once"
        again = await hanging.look()
        assert database.calls - calls == 3, "and not again while the first is under way"
    assert took_s < 0.5 + 5
    for results in (*answers, again):
        found = {name: each.found for name, each in results.items() if not each.good}
        assert found == dict.fromkeys(("database", "migrations", "inbox"), "no answer within 0.5 s")


async def test_a_flood_of_probes_costs_what_one_a_second_costs(place: Place) -> None:
    database, began = place.world.runtime.store.database, time.monotonic()
    calls = database.calls
    for _ in range(100):
        assert (await place.world.http.get("/health/ready")).status_code in {200, 503}
    rounds = (time.monotonic() - began) / health.KEPT_S + 1
    assert database.calls - calls <= 3 * (rounds + 1)
