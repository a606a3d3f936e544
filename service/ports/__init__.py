"""What the flows need from the outside world. Adapters implement these."""

from dataclasses import dataclass
from typing import Protocol

from service.domain.policy import Policy
from service.ports.bucket import Bucket, Download, StoredObject, VideoSource
from service.ports.fal import (
    Accepted,
    CancelAnswer,
    Declined,
    DeliveryVerifier,
    Fal,
    Listed,
    NotAccepted,
    Signed,
    SubmitOutcome,
    Unknown,
)
from service.ports.poster import Poster
from service.ports.signals import SILENT, Signals
from service.ports.store import (
    Applied,
    AuditStore,
    Deleted,
    Grounds,
    Recovered,
    Removals,
    Reserved,
    Settled,
    Store,
    Stray,
    Successor,
)

__all__ = [
    "SILENT",
    "Accepted",
    "Applied",
    "AuditStore",
    "Bucket",
    "CancelAnswer",
    "Declined",
    "Deleted",
    "DeliveryVerifier",
    "Download",
    "Fal",
    "Grounds",
    "Listed",
    "NotAccepted",
    "Nudge",
    "Poster",
    "Recovered",
    "Removals",
    "Reserved",
    "Services",
    "Settled",
    "Signals",
    "Signed",
    "Store",
    "StoredObject",
    "Stray",
    "SubmitOutcome",
    "Successor",
    "Unknown",
    "VideoSource",
]


class Nudge(Protocol):
    """Wakes the worker. Losing a nudge loses time, never work: rows carry their own due time."""

    def submission(self, job_id: str) -> None: ...
    def delivery(self, entry_id: str) -> None: ...
    def finalisation(self, job_id: str) -> None: ...
    def cancellation(self, job_id: str) -> None: ...
    def purge(self, job_id: str) -> None: ...
    def afterwards(self, job_id: str) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything a process was wired with. Built once in wiring.py, or by a test."""

    policy: Policy
    store: Store
    fal: Fal
    bucket: Bucket
    source: VideoSource
    verifier: DeliveryVerifier
    nudge: Nudge
    poster: Poster | None = None  # None: this process makes no thumbnails
    signals: Signals = SILENT
