"""Prometheus metrics: what this process counts, and how things stand in the database.

Each process has a registry of its own; the library's global one is never used. What the database
knows is read by one query, once in ten seconds at most, however often it is asked for.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from service.domain.errors import ServiceError
from service.domain.job import FINAL, JobState
from service.domain.pauses import Activity
from service.domain.standing import Standing
from service.ports.signals import LABELS, SILENT, Count, Level, Signal, Signals, Span, Timing

M = TypeVar("M", Counter, Histogram)

log = logging.getLogger(__name__)

NAMESPACE: Final = "fal_video"
FRESH_FOR_S: Final = 10.0  # Prometheus asks every 15 to 60 s; a flood of scrapes asks no more
READ_S: Final = 5.0  # a scrape is given up after 10 s

HELP: Final[Mapping[Signal, str]] = {
    Count.DELIVERIES: "Webhook deliveries by what became of them at their receipt.",
    Count.REFUSED_DELIVERIES: "Deliveries that proved nothing, or were no deliveries.",
    Count.STALE_DELIVERIES: "Authentic deliveries that were signed long ago, or in the future.",
    Count.SUBMISSIONS: "Requests sent to fal by fal's answer.",
    Count.FINALISATIONS: "Attempts at finalising a job by what became of them.",
    Count.FINALISED_BYTES: "Bytes of the videos that were settled.",
    Count.FAL_ERRORS: "Calls to fal that failed.",
    Count.R2_ERRORS: "Calls to the object store that failed, retries included.",
    Count.KEY_SET_FETCHES: "Fetches of key sets.",
    Count.HTTP_REQUESTS: "Answered requests.",
    Count.SWEEPS: "Sweeps of the reconciler that were finished.",
    Count.SWEEP_PROBLEMS: "What a sweep could not move on, and sweeps that failed.",
    Count.RATE_LIMITED: "Requests refused for coming too often.",
    Count.CANARY: "Checks of the public webhook address.",
    Timing.ACK: "From a delivery's arrival to its answer.",
    Timing.SUBMIT: "From an order's acceptance to its reservation, start image included.",
    Timing.FINALISE: "From the lease to the settlement.",
    Timing.DATABASE: "Calls to the database, retries included.",
    Level.CANARY_OK: "Whether the public webhook address was found good at the last check.",
}
BUCKETS: Final[Mapping[Timing, tuple[float, ...]]] = {
    Timing.ACK: (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 15),
    Timing.SUBMIT: (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30),
    Timing.FINALISE: (0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600),
    Timing.DATABASE: (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10),
}
# These start at 0: an alert on an increase does not see a series that begins with its first one.
KNOWN: Final[Mapping[Count, tuple[tuple[str, ...], ...]]] = {
    Count.DELIVERIES: (("recorded",), ("repeated",), ("refused",), ("failed",)),
    Count.REFUSED_DELIVERIES: (
        ("address",),
        ("header",),
        ("account",),
        ("signature",),
        ("size",),
        ("body",),
    ),
    Count.SUBMISSIONS: (("accepted",), ("declined",), ("not_accepted",), ("unknown",)),
    Count.FINALISATIONS: (("settled",), ("put_off",), ("parked",), ("failed",)),
    Count.KEY_SET_FETCHES: (("fal", "fetched"), ("fal", "failed")),
}

disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, for nothing here


class Metrics:
    """Implements ports.Signals; spans go to `spans`."""

    def __init__(
        self, read_standing: Callable[[], Awaitable[Standing]], spans: Signals = SILENT
    ) -> None:
        self._spans = spans
        self.registry = CollectorRegistry()
        self._counters = {each: self._counter(each) for each in Count}
        self._timings = {
            each: Histogram(
                each.value,
                HELP[each],
                LABELS[each],
                namespace=NAMESPACE,
                registry=self.registry,
                buckets=BUCKETS[each],
            )
            for each in Timing
        }
        # By signal and labels, as a request counts several: to find one anew costs as much as
        # all else about it.
        self._counted: dict[tuple[object, ...], Counter] = {}
        self._timed: dict[tuple[object, ...], Histogram] = {}
        self._levels: dict[Level, Gauge] = {}
        self._standing = _StandingCollector(read_standing)
        self.registry.register(self._standing)
        ProcessCollector(registry=self.registry)

    def count(self, what: Count, amount: float = 1, **labels: str) -> None:
        named = (what, *labels.items())
        counter = self._counted.get(named)
        if counter is None and _fits(what, labels):
            counter = _labelled_one(self._counters[what], labels)
            self._counted[named] = counter
        if counter is not None:
            counter.inc(amount)

    def observe(self, what: Timing, seconds: float, **labels: str) -> None:
        named = (what, *labels.items())
        timing = self._timed.get(named)
        if timing is None and _fits(what, labels):
            timing = _labelled_one(self._timings[what], labels)
            self._timed[named] = timing
        if timing is not None:
            timing.observe(seconds)

    def level(self, what: Level, value: float, **labels: str) -> None:
        """A level that was never found is not shown: 0 would say that it was found bad."""
        if not _fits(what, labels):
            return
        if what not in self._levels:
            self._levels[what] = Gauge(
                what.value, HELP[what], LABELS[what], namespace=NAMESPACE, registry=self.registry
            )
        gauge = self._levels[what]
        (gauge.labels(**labels) if labels else gauge).set(value)

    def span(
        self, name: Span, job_id: str, **attributes: str | float | bool
    ) -> AbstractContextManager[None]:
        return self._spans.span(name, job_id, **attributes)

    async def exposed(self) -> bytes:
        """Everything in Prometheus's text format, also while the database is away."""
        await self._standing.refresh()
        return generate_latest(self.registry)

    def _counter(self, what: Count) -> Counter:
        counter = Counter(
            what.value, HELP[what], LABELS[what], namespace=NAMESPACE, registry=self.registry
        )
        for values in KNOWN.get(what, ()):
            counter.labels(*values)
        return counter


def _labelled_one(metric: M, labels: Mapping[str, str]) -> M:
    return metric.labels(**labels) if labels else metric


def _fits(what: Signal, labels: Mapping[str, str]) -> bool:
    """A signal with other labels than its own is a bug of ours, and no reason to fail a job."""
    if labels.keys() == set(LABELS[what]):
        return True
    log.error("a signal has other labels than its own", extra={"signal": what.value})
    return False


class _StandingCollector:
    """How things stood when last looked at. Without the database only that it is away."""

    def __init__(self, read: Callable[[], Awaitable[Standing]]) -> None:
        self._read = read
        self._standing: Standing | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        async with self._reading:  # those who wait share what the first of them reads
            if time.monotonic() - self._read_at < FRESH_FOR_S:
                return
            try:
                async with asyncio.timeout(READ_S):
                    self._standing = await self._read()
            except (ServiceError, TimeoutError) as error:
                log.warning("metrics not read", extra={"reason": str(error) or "too slow"})
                self._standing = None
            self._read_at = time.monotonic()

    def describe(self) -> Iterator[Metric]:
        """Nothing: otherwise the registry would collect at once to learn the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        standing = self._standing
        yield _gauge("up_database", "Whether the database answered.", float(standing is not None))
        if standing is not None:
            yield from _families(standing)


def _families(standing: Standing) -> Iterator[Metric]:
    yield _labelled(
        "jobs",
        "Unfinished jobs; those that have ended are not counted, which would cost a scan.",
        "state",
        {each.value: standing.states.get(each, 0) for each in JobState if each not in FINAL},
    )
    parked = {"job": standing.parked_jobs, "delivery": standing.parked_deliveries}
    yield _labelled("parked", "What waits for a person.", "kind", parked)
    yield _gauge("due_jobs", "Jobs that should have moved by now.", standing.due_jobs)
    yield _gauge(
        "due_oldest_seconds", "How long nobody has looked at one of those.", standing.due_oldest_s
    )
    yield _gauge("inbox_waiting", "Deliveries still to be handled.", standing.inbox_waiting)
    yield _gauge(
        "inbox_oldest_seconds", "How long the oldest of those waits.", standing.inbox_oldest_s
    )
    paused = {each.value: float(each in standing.paused) for each in Activity}
    yield _labelled("pause", "Whether an activity is paused.", "activity", paused)
    yield _gauge("purges_waiting", "Deleted jobs with leftovers.", standing.purges_waiting)
    yield _gauge(
        "written_off_credits",
        "Credits' worth that fal may bill and nobody is charged for, in the last day.",
        standing.written_off,
    )
    yield _gauge("at_fal", "Jobs whose request is or may be at fal.", standing.at_fal)
    if (last := standing.last_audit) is not None:
        yield _gauge("audit_passed", "Whether the last audit passed.", float(last.passed))
        yield _gauge("audit_violations", "Violations the last audit found.", last.violations)
        yield _gauge("audit_age_seconds", "How long ago the last audit ended.", last.age_s)
        yield _gauge("audit_took_seconds", "How long the last audit took.", last.seconds)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{NAMESPACE}_{name}", text, value=value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"{NAMESPACE}_{name}", text, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family
