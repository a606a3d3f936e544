"""How things stand: what is unfinished, waiting or wrong, counted at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from service.domain.job import JobState
from service.domain.pauses import Activity

# Whose request is, or may be, at fal.
AT_FAL = frozenset({JobState.SUBMITTING, JobState.SUBMIT_UNKNOWN, JobState.SUBMITTED})


@dataclass(frozen=True, kw_only=True, slots=True)
class LastAudit:
    """What the last periodic audit found, and how long ago that was."""

    at: datetime
    passed: bool
    violations: int
    seconds: float
    age_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Durations are seconds, 0 where nothing waits. `states` has unfinished jobs only."""

    states: Mapping[JobState, int]
    parked_jobs: int
    parked_deliveries: int
    due_jobs: int
    due_oldest_s: float
    inbox_waiting: int
    inbox_oldest_s: float
    paused: frozenset[Activity]
    purges_waiting: int
    written_off: int  # credits' worth, in the last day
    last_audit: LastAudit | None

    @property
    def at_fal(self) -> int:
        return sum(jobs for state, jobs in self.states.items() if state in AT_FAL)
