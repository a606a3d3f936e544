"""The JSON that operations answer, as types; instants as RFC 3339 text."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from service.domain.job import Job
from service.domain.operators import Action, DeliveryFacts


class JobAnswer(TypedDict):
    """A job in a list. `due` in the past: it should have moved by now."""

    id: str
    owner: str
    state: str
    status: str
    parked: bool
    parkedReason: str | None
    lastProblem: str | None
    error: str | None
    credits: int
    provider: str
    model: str | None
    templateSlug: str
    durationSeconds: int
    requestId: str | None
    pastRequests: list[str]
    submitAttempts: int
    finaliseAttempts: int
    fence: int
    cancelIfFinished: str | None
    recovers: str | None
    objectKey: str | None
    objectBytes: int | None
    objectSha256: str | None
    version: int
    createdAt: str
    submittedAt: str | None
    renderedAt: str | None
    finishedAt: str | None
    deletedAt: str | None
    updatedAt: str
    due: str | None


class JobsAnswer(TypedDict):
    """A page of jobs. `nextBefore` is where the next page begins; null on the last."""

    jobs: list[JobAnswer]
    nextBefore: str | None


class DeliveryAnswer(TypedDict):
    """A delivery without its body."""

    id: str
    jobId: str
    requestId: str
    attempt: int
    bytes: int
    stale: bool
    attempts: int
    receivedAt: str
    handledAt: str | None
    due: str | None
    parked: bool
    outcome: str | None


class DeliveriesAnswer(TypedDict):
    deliveries: list[DeliveryAnswer]


class WholeDeliveryAnswer(DeliveryAnswer):
    """With its raw body: as text where it is UTF-8, and as base64 in any case.

    A body is emptied once its job is deleted or its time is over; then nothing is known of it but
    this entry's id.
    """

    sha256: str | None
    body: str | None
    bodyBase64: str


class ActionAnswer(TypedDict):
    at: str
    door: str
    name: str
    arguments: Mapping[str, Any]
    changed: bool
    jobId: str | None


class ActionsAnswer(TypedDict):
    actions: list[ActionAnswer]


class ChangedJob(TypedDict):
    """`would`: what it would do, asked with `dryRun`; `said`: what it did, or why nothing."""

    changed: bool
    would: NotRequired[str]
    said: str
    job: JobAnswer


class ChangedDelivery(TypedDict):
    changed: bool
    would: NotRequired[str]
    said: str
    jobId: str


def instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe_instant(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)


def job_answer(job: Job) -> JobAnswer:
    return {
        "id": job.id,
        "owner": job.owner,
        "state": job.state.value,
        "status": job.status.value,
        "parked": job.parked,
        "parkedReason": job.parked_reason,
        "lastProblem": job.last_problem,
        "error": f"{job.error.code}: {job.error.message}" if job.error else None,
        "credits": job.credits,
        "provider": job.provider,
        "model": job.fal_model,
        "templateSlug": job.template_id,
        "durationSeconds": job.duration_s,
        "requestId": job.submission.request_id if job.submission else None,
        "pastRequests": list(job.past_requests),
        "submitAttempts": job.submit_attempts,
        "finaliseAttempts": job.finalise_attempts,
        "fence": job.fence,
        "cancelIfFinished": job.if_finished.value if job.if_finished else None,
        "recovers": job.recovers,
        "objectKey": job.object_key,
        "objectBytes": job.object_size,
        "objectSha256": job.object_sha256,
        "version": job.version,
        "createdAt": instant(job.created_at),
        "submittedAt": maybe_instant(job.submitted_at),
        "renderedAt": maybe_instant(job.rendered_at),
        "finishedAt": maybe_instant(job.finished_at),
        "deletedAt": maybe_instant(job.deleted_at),
        "updatedAt": instant(job.updated_at),
        "due": maybe_instant(job.due),
    }


def delivery_answer(entry: DeliveryFacts) -> DeliveryAnswer:
    return {
        "id": entry.id,
        "jobId": entry.job_id,
        "requestId": entry.request_id,
        "attempt": entry.attempt,
        "bytes": entry.size,
        "stale": entry.stale,
        "attempts": entry.attempts,
        "receivedAt": instant(entry.received_at),
        "handledAt": maybe_instant(entry.handled_at),
        "due": maybe_instant(entry.due),
        "parked": entry.parked,
        "outcome": entry.outcome,
    }


def action_answer(action: Action) -> ActionAnswer:
    return {
        "at": instant(action.at),
        "door": action.door.value,
        "name": action.name,
        "arguments": action.arguments,
        "changed": action.changed,
        "jobId": action.job_id,
    }
