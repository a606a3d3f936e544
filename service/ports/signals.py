"""What the service says about itself: counts, times and traces.

Emitting neither fails nor waits, and no fact of the service depends on it.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Final, Protocol


class Count(StrEnum):
    """What is counted since the process began."""

    DELIVERIES = "deliveries"
    REFUSED_DELIVERIES = "refused_deliveries"
    STALE_DELIVERIES = "stale_deliveries"
    SUBMISSIONS = "submissions"
    FINALISATIONS = "finalisations"
    FINALISED_BYTES = "finalised_bytes"
    FAL_ERRORS = "fal_errors"
    R2_ERRORS = "r2_errors"
    KEY_SET_FETCHES = "key_set_fetches"
    HTTP_REQUESTS = "http_requests"
    SWEEPS = "sweeps"
    SWEEP_PROBLEMS = "sweep_problems"
    RATE_LIMITED = "rate_limited"
    CANARY = "canary"


class Timing(StrEnum):
    """What is timed, in seconds."""

    ACK = "ack_seconds"
    SUBMIT = "submit_seconds"
    FINALISE = "finalise_seconds"
    DATABASE = "db_seconds"


class Level(StrEnum):
    """What this process last found, until it finds otherwise."""

    CANARY_OK = "canary_ok"


class Span(StrEnum):
    """The steps of a job that a trace shows."""

    ACCEPT = "accept"  # the order: the root of its job's trace
    SUBMIT = "submit"
    RECEIVE = "receive"
    HANDLE = "handle"
    FINALISE = "finalise"
    COPY = "copy"
    SETTLE = "settle"
    CHECK = "check"


Signal = Count | Timing | Level

# The labels each signal takes, all of them, every time. Their values are few and known: never an
# id, an address, or a word of somebody else's.
LABELS: Final[Mapping[Signal, tuple[str, ...]]] = {
    Count.DELIVERIES: ("outcome",),  # recorded, repeated, refused, failed
    Count.REFUSED_DELIVERIES: ("reason",),
    Count.STALE_DELIVERIES: (),
    Count.SUBMISSIONS: ("outcome",),
    Count.FINALISATIONS: ("outcome",),
    Count.FINALISED_BYTES: (),
    Count.FAL_ERRORS: ("call", "class"),
    Count.R2_ERRORS: ("call", "class"),
    Count.KEY_SET_FETCHES: ("set", "outcome"),
    Count.HTTP_REQUESTS: ("route", "method", "code"),
    Count.SWEEPS: (),
    Count.SWEEP_PROBLEMS: (),
    Count.RATE_LIMITED: ("limit",),
    Count.CANARY: ("outcome",),
    Timing.ACK: (),
    Timing.SUBMIT: (),
    Timing.FINALISE: (),
    Timing.DATABASE: ("kind",),  # read, write
    Level.CANARY_OK: (),
}


class Signals(Protocol):
    """Where signals go. Labels are those that LABELS names."""

    def count(self, what: Count, amount: float = 1, **labels: str) -> None: ...
    def observe(self, what: Timing, seconds: float, **labels: str) -> None: ...
    def level(self, what: Level, value: float, **labels: str) -> None: ...

    def span(
        self, name: Span, job_id: str, **attributes: str | float | bool
    ) -> AbstractContextManager[None]:
        """One step in the trace of a job, which all processes and attempts of the job share."""
        ...


class Silent:
    """Says nothing."""

    def count(self, what: Count, amount: float = 1, **labels: str) -> None: ...
    def observe(self, what: Timing, seconds: float, **labels: str) -> None: ...
    def level(self, what: Level, value: float, **labels: str) -> None: ...

    def span(
        self, name: Span, job_id: str, **attributes: str | float | bool
    ) -> AbstractContextManager[None]:
        del name, job_id, attributes
        return nullcontext()


SILENT: Final[Signals] = Silent()
