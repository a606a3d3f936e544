"""What operators see of the service, and the record of what they had it do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.domain.credits import LedgerEntry
from service.domain.job import Job, JobState


class Door(StrEnum):
    """How an operation was asked for."""

    CLI = "cli"  # a command that opened the database itself
    SOCKET = "socket"  # a command, through the process that owns an embedded database
    PAGE = "page"  # the operator page, over HTTP


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """How many jobs are in each state, and all that was ever written off."""

    at: datetime
    states: Mapping[JobState, int]
    written_off: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Which jobs to list. `before` is the last one of the page before."""

    limit: int
    parked: bool = False
    due: bool = False
    state: JobState | None = None
    email: str | None = None
    before: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryFacts:
    """An inbox entry without its body, of which only the size is told."""

    id: str
    job_id: str
    attempt: int
    request_id: str
    size: int
    stale: bool
    attempts: int
    received_at: datetime
    handled_at: datetime | None
    due: datetime | None
    outcome: str | None
    parked: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """One thing that an operator had done. `changed`: whether anything was different after it."""

    at: datetime
    door: Door
    name: str
    arguments: Mapping[str, Any]
    changed: bool
    job_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NotedWriteOff:
    """A cost that nobody was charged for, and when that was noted."""

    request_id: str
    reason: str
    credits: int
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Instants on a job's row that only its receipt tells."""

    cancel_requested_at: datetime | None
    cancel_accepted_at: datetime | None
    looked_up_at: datetime | None
    lease_until: datetime | None
    thumbnail_due: datetime | None
    purge_due: datetime | None
    purged_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """Everything that the rows know about one job, at one moment."""

    job: Job
    moments: Moments
    taken_over: bool
    lease_holder: str | None
    payload_kept: str | None
    deliveries: Sequence[DeliveryFacts]
    requests: Sequence[str]
    ledger: Sequence[LedgerEntry]
    write_offs: Sequence[NotedWriteOff]
    forgotten: Mapping[str, datetime]  # requests whose payload fal has deleted, and when
    late_job: str | None  # the job that delivers this one's late video
    in_library_since: datetime | None
    actions: Sequence[Action]
