"""One job's receipt: every step that its rows tell of, in order, and what they do not tell."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypedDict

from service.domain.credits import EntryKind, LedgerEntry
from service.domain.job import FINAL, JobState
from service.domain.operators import DeliveryFacts, JobRecord
from service.operations.answers import (
    ActionAnswer,
    DeliveryAnswer,
    JobAnswer,
    action_answer,
    delivery_answer,
    instant,
    job_answer,
    maybe_instant,
)


class Step(TypedDict):
    """`at` is null where no row says when; such a step stands where it must have been."""

    at: str | None
    what: str
    details: dict[str, Any]


class LedgerAnswer(TypedDict):
    id: str
    kind: str
    credits: int
    reason: str | None
    at: str


class WriteOffAnswer(TypedDict):
    requestId: str
    reason: str
    credits: int
    at: str


class RequestAnswer(TypedDict):
    """A request of this job's at fal. `forgottenAt`: fal has deleted what it stored of it."""

    requestId: str
    current: bool
    forgottenAt: str | None


class ObjectAnswer(TypedDict):
    key: str
    bytes: int | None
    sha256: str | None


class ReceiptAnswer(TypedDict):
    job: JobAnswer
    steps: list[Step]
    deliveries: list[DeliveryAnswer]
    ledger: list[LedgerAnswer]
    requests: list[RequestAnswer]
    object: ObjectAnswer | None
    writeOffs: list[WriteOffAnswer]
    actions: list[ActionAnswer]


# A step before it is put in order: when, if that is known; what; and its details.
_Step = tuple[datetime | None, str, dict[str, Any]]


def receipt_answer(record: JobRecord) -> ReceiptAnswer:
    job = record.job
    stored = job.object_sha256 is not None and job.object_key is not None
    return {
        "job": job_answer(job),
        "steps": _in_order(list(_steps(record))),
        "deliveries": [delivery_answer(each) for each in record.deliveries],
        "ledger": [ledger_answer(each) for each in record.ledger],
        "requests": [_request(record, each) for each in record.requests],
        "object": {
            "key": job.object_key or "",
            "bytes": job.object_size,
            "sha256": job.object_sha256,
        }
        if stored
        else None,
        "writeOffs": [
            {
                "requestId": each.request_id,
                "reason": each.reason,
                "credits": each.credits,
                "at": instant(each.at),
            }
            for each in record.write_offs
        ],
        "actions": [action_answer(each) for each in record.actions],
    }


def ledger_answer(entry: LedgerEntry) -> LedgerAnswer:
    return {
        "id": entry.id,
        "kind": entry.kind.value,
        "credits": entry.credits,
        "reason": entry.reason,
        "at": instant(entry.at),
    }


def _request(record: JobRecord, request_id: str) -> RequestAnswer:
    submission = record.job.submission
    return {
        "requestId": request_id,
        "current": submission is not None and submission.request_id == request_id,
        "forgottenAt": maybe_instant(record.forgotten.get(request_id)),
    }


def _steps(record: JobRecord) -> Iterator[_Step]:
    """In the order of a job's life, which is also where steps without an instant stand."""
    yield from _beginning(record)
    yield from _at_fal(record)
    yield from _deliveries(record)
    yield from _finalisation(record)
    yield from _endings(record)
    yield from _afterwards(record)


def _beginning(record: JobRecord) -> Iterator[_Step]:
    job = record.job
    if record.taken_over:
        yield job.created_at, "taken over from the old system", {}
        return
    reserved = _entry(record, EntryKind.RESERVE)
    details = {"credits": job.credits, "ledgerId": reserved.id if reserved else None}
    if job.recovers is not None:
        details["recovers"] = job.recovers
    yield job.created_at, "reserved", details


def _at_fal(record: JobRecord) -> Iterator[_Step]:
    job, moments = record.job, record.moments
    for request_id in job.past_requests:
        yield None, "earlier request given up", {"requestId": request_id}
    if job.attempted_at is not None:
        yield job.attempted_at, "submission begun", {"attempt": job.submit_attempts}
    if moments.looked_up_at is not None:
        yield moments.looked_up_at, "looked for at fal", {"lookups": job.lookups}
    if job.submission is not None:
        details = {"attempt": job.submit_attempts, "requestId": job.submission.request_id}
        yield job.submitted_at, "submitted", details
    if job.if_finished is not None:
        yield moments.cancel_requested_at, "cancel asked", {"ifFinished": job.if_finished.value}
    if moments.cancel_accepted_at is not None:
        yield moments.cancel_accepted_at, "cancel accepted by fal", {}


def _deliveries(record: JobRecord) -> Iterator[_Step]:
    for each in record.deliveries:
        yield (
            each.received_at,
            "delivery received",
            {
                "deliveryId": each.id,
                "requestId": each.request_id,
                "bytes": each.size,
                "stale": each.stale,
            },
        )
        yield from _handling(each)


def _handling(delivery: DeliveryFacts) -> Iterator[_Step]:
    details = {
        "deliveryId": delivery.id,
        "outcome": delivery.outcome,
        "attempts": delivery.attempts,
    }
    if delivery.handled_at is not None:
        yield delivery.handled_at, "delivery handled", details
    elif delivery.parked:
        yield None, "delivery parked", details


def _finalisation(record: JobRecord) -> Iterator[_Step]:
    job = record.job
    if job.rendered_at is not None:
        request_id = job.submission.request_id if job.submission else None
        yield job.rendered_at, "rendered", {"requestId": request_id}
    if job.parked:
        yield None, "parked", {"reason": job.parked_reason}
    if job.state is JobState.READY and job.object_sha256 is not None:
        details = {
            "bytes": job.object_size,
            "sha256": job.object_sha256,
            "key": job.object_key,
            "attempts": job.finalise_attempts,
            "fence": job.fence,
            "holder": record.lease_holder,
        }
        yield job.finished_at, "finalised", details


def _endings(record: JobRecord) -> Iterator[_Step]:
    job = record.job
    if job.state in FINAL and job.state is not JobState.READY:
        error = {"code": job.error.code, "message": job.error.message} if job.error else None
        yield job.finished_at, job.state.value, {"error": error}
    for kind in (EntryKind.CAPTURE, EntryKind.RELEASE, EntryKind.REFUND):
        if entry := _entry(record, kind):
            details: dict[str, Any] = {"ledgerId": entry.id, "credits": entry.credits}
            if entry.reason is not None:
                details["reason"] = entry.reason
            yield entry.at, _SETTLED[kind], details
    if record.in_library_since is not None:
        yield record.in_library_since, "in the library", {}
    for each in record.write_offs:
        cost = {"requestId": each.request_id, "reason": each.reason, "credits": each.credits}
        yield each.at, "written off", cost
    if record.late_job is not None:
        yield None, "its late video is delivered by another job", {"jobId": record.late_job}


def _afterwards(record: JobRecord) -> Iterator[_Step]:
    job, moments = record.job, record.moments
    if job.thumbnail_key is not None:
        yield None, "thumbnail made", {"key": job.thumbnail_key}
    if job.deleted_at is not None:
        yield job.deleted_at, "deleted", {}
    for request_id, at in record.forgotten.items():
        yield at, "deleted at fal", {"requestId": request_id}
    if moments.purged_at is not None:
        yield moments.purged_at, "purged", {"payloadKept": record.payload_kept}
    for action in record.actions:
        details = {"door": action.door.value, "name": action.name, "changed": action.changed}
        yield action.at, "operator action", details


_SETTLED = {
    EntryKind.CAPTURE: "captured",
    EntryKind.RELEASE: "released",
    EntryKind.REFUND: "refunded",
}


def _entry(record: JobRecord, kind: EntryKind) -> LedgerEntry | None:
    return next((each for each in record.ledger if each.kind is kind), None)


def _in_order(steps: list[_Step]) -> list[Step]:
    """By their instants; one without stands right after the step that it follows in a life."""
    keyed: list[tuple[datetime, datetime | None, str, dict[str, Any]]] = []
    latest = next(at for at, _, _ in steps if at is not None)  # a job always has a beginning
    for at, what, details in steps:
        latest = at or latest
        keyed.append((latest, at, what, details))
    keyed.sort(key=lambda each: each[0])
    return [
        {"at": maybe_instant(at), "what": what, "details": details}
        for _, at, what, details in keyed
    ]
