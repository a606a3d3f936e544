"""Pauses: what the whole service leaves alone for a while, because it fails for every job alike.

A locked account at fal or a refused key at R2 says nothing about a job. So jobs wait where they
are, one alarm is raised, and from time to time one job goes first to find out whether it works.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Activity(StrEnum):
    """What can be paused."""

    SUBMITTING = "submitting"  # fal takes no requests from us
    FINALISING = "finalising"  # the object store takes nothing from us


class Gate(StrEnum):
    """Whether an activity may go on."""

    OPEN = "open"
    PROBE = "probe"  # it was paused; this caller goes first, alone
    SHUT = "shut"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """An activity that is paused: since when, until the next probe, and why."""

    activity: Activity
    reason: str
    since: datetime
    until: datetime
    shut: bool  # not yet time for a probe
    failures: int
    manual: bool = False  # made by a person, who alone ends it
