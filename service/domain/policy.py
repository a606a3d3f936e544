"""The service's named limits and waits, each with its reason. Settings override the first block."""

import random
from dataclasses import dataclass, field
from typing import Final

# How late a render may be before the sweep asks fal: a webhook normally arrives first, so an
# ordinary job costs no status call.
OVERDUE_FACTOR: Final = 1.5
DAY_S: Final = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What an operator decides. Durations are seconds; sizes are bytes."""

    public_base_url: str
    seal_key: bytes = field(repr=False)
    expected_render_s: float | None = None  # overrides every provider's own expectation
    reconcile_interval_s: float = 15.0  # two looks at a late job; the last pause is 2 minutes
    allow_retired_providers: bool = False
    lease_s: float = 60.0  # longer than any single storage call, short enough to recover soon
    max_in_flight: int = 20  # per account: half of fal's largest self-serve concurrency
    # Far over what fal renders at a time, so its queue never runs dry; far under what would wait
    # there for longer than the start images' links live.
    max_at_fal: int = 200
    lookup_apart_s: float = 20.0  # two looks at fal's listing within this are one
    # How long an activity that fails for everybody is paused, after each failed probe.
    pause_s: tuple[float, ...] = (15.0, 30.0, 60.0, 120.0, 300.0)
    start_image_url_s: int = 6 * 3600  # outlives the longest queue wait seen with 2 slots
    video_url_s: int = 3600  # a signed link in a status answer
    keep_deliveries_s: float = 30 * DAY_S  # fal's raw words, once handled
    keep_parked_s: float = 180 * DAY_S  # those that wait for a person
    keep_start_images_s: float = 30 * DAY_S  # of jobs that have ended

    @property
    def sweep_delays_s(self) -> tuple[float, ...]:
        """How long a due job is left alone after each fruitless look at it, in order; jittered."""
        return tuple(jittered(self.reconcile_interval_s * factor) for factor in SWEEP_PATIENCE)

    def overdue_after_s(self, provider_expected_s: float) -> float:
        """How long after its submission a job is due."""
        return self.expected_render_s or provider_expected_s * OVERDUE_FACTOR


# A probe that is not back by then counts as failed, and another may go.
PROBE_S: Final = 60.0
# A reserved job that has stood still for longer than any wait of ours did not stand still here:
# the database may be an older copy of one that sent it. Then fal's list is looked at first.
STOOD_STILL_S: Final = 600.0
# A cancel is taken to fal at once, and its end is asked about so much later. Two who ask at once
# get in each other's way: the second hears that there is no such request.
CANCEL_GRACE_S: Final = 5.0
# The web process that reserved a job submits it at once. If it died, the sweep does.
RESERVED_GRACE_S: Final = 10.0
# A POST to fal is given up after 40 s; after this its outcome is unknown.
SUBMITTING_GRACE_S: Final = 60.0
# fal's listing shows a request within moments; a signed delivery usually settles it sooner.
SUBMIT_UNKNOWN_GRACE_S: Final = 60.0
# A request absent from fal's listing this often, each time later, was not accepted.
LOOKUPS_TO_PROVE_ABSENCE: Final = 3
# 5xx and queue time are never billed by fal, so a broken request may be tried again; but a
# model that breaks on this input three times will not render it on the fourth.
MAX_BROKEN_REQUESTS: Final = 3
# While fal does not accept (429, a locked account, no connection) jobs wait, however long.
SUBMIT_RETRY_S: Final = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)

# An entry handled right after its receipt needs none of this; a crash is noticed this late.
DELIVERY_GRACE_S: Final = 15.0
DELIVERY_RETRY_S: Final = 30.0
MAX_DELIVERY_ATTEMPTS: Final = 10

# fal keeps a result for at least an hour (30 days with payload storage on): twelve attempts
# take about 50 minutes. Attempts while the store is away are not among them.
MAX_FINALISE_ATTEMPTS: Final = 12
FINALISE_RETRY_S: Final = (2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
# The store's own absence says nothing about a job: it is asked again so often.
DEPENDENCY_RETRY_S: Final = 60.0
# A CDN that answers 404 or 403 may be having bad minutes; after these, the file is gone.
GONE_RETRY_S: Final = (60.0, 300.0, 600.0)
GONE_ATTEMPTS: Final = len(GONE_RETRY_S) + 1

# What a deleted video leaves elsewhere is removed at once; while something is away, tried again
# and never given up. From the alarm on (an hour and a half) a person should look.
PURGE_RETRY_S: Final = (60.0, 120.0, 300.0, 900.0, 3600.0, 6 * 3600.0)
PURGE_ALARM_ATTEMPTS: Final = len(PURGE_RETRY_S)
# fal deletes payloads for keys of administrators only; another key is refused as often as it asks.
FORGET_ATTEMPTS: Final = 3
# A closed account's jobs end one by one; so often it is looked which have.
CLOSING_RETRY_S: Final = 60.0

# A thumbnail is made right after its video; a nudge that was lost is noticed this late.
POSTER_GRACE_S: Final = 120.0
# Longer than the longest attempt, so that one is over before the next. After as many attempts as
# there are waits, or a day, a video has no thumbnail.
POSTER_RETRY_S: Final = (300.0, 1800.0, 3600.0)
POSTER_AGE_S: Final = 24 * 3600.0
# Far above what a model makes in seconds; a copy of it lies on this machine's disk meanwhile.
MAX_POSTER_SOURCE_BYTES: Final = 256 * 1024 * 1024

SWEEP_BATCH: Final = 50
SWEEP_CONCURRENCY: Final = 8
# Each fruitless look at one job puts the next one further off: by so many sweep intervals.
SWEEP_PATIENCE: Final = (1, 2, 4, 8)


JITTER: Final = 0.25  # of every wait, either way: what failed together must not return together


def backoff(waits_s: tuple[float, ...], attempt: int) -> float:
    """The wait after the given attempt (1, 2, …), jittered; the last one repeats."""
    return jittered(waits_s[min(max(attempt, 1), len(waits_s)) - 1])


def delayed(wait_s: float) -> float:
    """The wait or somewhat more: for what would be too early before it is over."""
    return wait_s * random.uniform(1, 1 + JITTER)  # noqa: S311 - spreading load


def jittered(wait_s: float) -> float:
    return wait_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreading load
