"""What the stand-in remembers of a request."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus

from service.sandbox.endpoints import Endpoint, ModelInput
from service.sandbox.faults import FaultPlan

Json = dict[str, object]


class State(StrEnum):
    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How a request ended, and so what its result URL answers."""

    body: Json
    status_code: int = HTTPStatus.OK
    error: str | None = None
    error_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def structured(self) -> bool:
        """Whether the model said it, with a `detail` list, or the infrastructure, with a text."""
        return isinstance(self.body.get("detail"), list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One attempt to hand over a webhook. `status` None: no answer came, `error` says why."""

    at: datetime
    attempt: int
    status: int | None
    error: str | None = None


@dataclass(eq=False, kw_only=True, slots=True)
class Generation:
    """One accepted request. `files` are the names its video is served under, the newest last."""

    request_id: str
    sequence: int
    endpoint: Endpoint
    input: ModelInput
    body: Json | None
    webhook_url: str | None
    plan: FaultPlan
    sent_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    state: State = State.IN_QUEUE
    started_at: datetime | None = None
    ended_at: datetime | None = None
    verdict: Verdict | None = None
    clip: bytes = b""
    files: list[str] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    life: asyncio.Task[None] | None = None
    work: asyncio.Task[Verdict] | None = None
    # Set once the first attempt of the first webhook is over, or when none is due.
    announced: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        self.state = State.IN_PROGRESS
        self.started_at = datetime.now(UTC)

    def complete(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.state = State.COMPLETED
        self.ended_at = datetime.now(UTC)

    @property
    def inference_s(self) -> float:
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return (self.ended_at - self.started_at).total_seconds()
