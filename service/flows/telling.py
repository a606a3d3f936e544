"""What a finalisation says about itself: one line in the log, its counts and its times."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from service.domain.job import Job
from service.domain.seal import owner_name
from service.ports import Services, Settled, StoredObject
from service.ports.signals import Count, Timing

log = logging.getLogger(__name__)


class Ended(StrEnum):
    """What became of an attempt that settled nothing."""

    PUT_OFF = "put_off"
    PARKED = "parked"
    FAILED = "failed"
    LEASE_LOST = "lease_lost"


class Telling:
    """One attempt's phases, and how they are told once it is over."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[f"{name}_seconds"] = round(time.monotonic() - began, 3)

    def settled(self, services: Services, job: Job, settled: Settled, stored: StoredObject) -> None:
        """The video is stored; `settled` says whether it was this attempt that settled it."""
        services.signals.count(Count.FINALISATIONS, outcome=settled.value)
        if settled is Settled.SETTLED:
            services.signals.count(Count.FINALISED_BYTES, stored.size)
            services.signals.observe(Timing.FINALISE, time.monotonic() - self._began)
        facts = {"bytes": stored.size, "sha256": stored.sha256, "reused": stored.reused}
        log.info("finalised", extra=self._facts(services, job, settled.value) | facts)

    def ended(self, services: Services, job: Job, outcome: Ended, reason: str) -> None:
        services.signals.count(Count.FINALISATIONS, outcome=outcome.value)
        needs_a_person = outcome in {Ended.PARKED, Ended.FAILED}
        log.log(
            logging.ERROR if needs_a_person else logging.WARNING,
            "finalisation %s",
            outcome.replace("_", " "),
            extra=self._facts(services, job, outcome.value) | {"reason": reason},
        )

    def _facts(self, services: Services, job: Job, outcome: str) -> dict[str, object]:
        elapsed = time.monotonic() - self._began
        facts: dict[str, object] = {
            "job_id": job.id,
            "outcome": outcome,
            "attempt": job.finalise_attempts,
            "fence": job.fence,
            "owner": owner_name(services.policy.seal_key, job.email),
            "seconds": round(elapsed, 3),
            **self._seconds,
        }
        if job.submitted_at is not None:
            waited = (job.read_at - job.submitted_at).total_seconds()
            facts["since_submission_seconds"] = round(waited + elapsed, 3)
        return facts
