"""Rows and record ids as the domain's values, and the other way round."""

from collections.abc import Mapping
from typing import Any, Final

from surrealdb import Range, RecordID
from surrealdb.data.types.range import BoundExcluded

from service.domain.credits import Balance, EntryKind, LedgerEntry, account_name
from service.domain.inbox import InboxEntry
from service.domain.job import (
    IfFinished,
    Job,
    JobError,
    JobState,
    NewJob,
    Status,
    Submission,
)
from service.domain.pauses import Activity, Pause
from service.domain.templates import Template

Row = Mapping[str, Any]

LONGEST_INTEGER_ID: Final = 18  # digits; the ids this service makes are never all digits


def job_record(job_id: str) -> RecordID:
    """A job's record id. Jobs taken over from the old system may be numbered."""
    return RecordID("video_job", _raw_id(job_id))


def rows_after(table: str, last: RecordID | None) -> RecordID:
    """The range of a table's rows after this one, or of all.

    It is found by seeking, where a condition would be tried on every row before it.
    """
    return RecordID(table, Range(None if last is None else BoundExcluded(last.id), None))


def library_record(job_id: str) -> RecordID:
    return RecordID("library", _raw_id(job_id))


def _raw_id(job_id: str) -> int | str:
    numbered = job_id.isascii() and job_id.isdigit() and len(job_id) <= LONGEST_INTEGER_ID
    return int(job_id) if numbered else job_id


def account_record(email: str) -> RecordID:
    return RecordID("account", account_name(email))


def settlement_record(job_id: str) -> RecordID:
    """Capture and release share this id: whichever is first, the other has nowhere to go."""
    return RecordID("ledger", [_raw_id(job_id), "settlement"])


def reservation_record(job_id: str) -> RecordID:
    return RecordID("ledger", [_raw_id(job_id), "reserve"])


def refund_record(job_id: str) -> RecordID:
    return RecordID("ledger", [_raw_id(job_id), "refund"])


def inbox_record(entry_id: str | None) -> RecordID | None:
    return None if entry_id is None else RecordID("inbox", entry_id)


def pause_record(activity: Activity) -> RecordID:
    return RecordID("pause", activity.value)


def write_off_record(job_id: str, request_id: str) -> RecordID:
    """One per job and request, so that a cost is counted once."""
    return RecordID("write_off", [_raw_id(job_id), request_id])


def forgotten_record(request_id: str) -> RecordID:
    return RecordID("forgotten_request", request_id)


def new_job_params(job: NewJob) -> dict[str, Any]:
    """What a query needs to create a job's row and its reservation."""
    return {
        "job": job_record(job.id),
        "entry": reservation_record(job.id),
        "account": account_record(job.email),
        "email": job.email,
        "template_id": job.template_id,
        "provider": job.provider,
        "fal_model": job.fal_model,
        "arguments": dict(job.arguments),
        "duration_s": job.duration_s,
        "credits": job.credits,
        "expected_render_s": job.expected_render_s,
        "usual_render_s": job.usual_render_s,
        "start_image_key": job.start_image_key,
        "object_key": job.object_key,
    }


def state_names(states: frozenset[JobState]) -> list[str]:
    return sorted(state.value for state in states)


def seconds(duration_s: float) -> str:
    """A duration as SurrealQL text. The SDK's own duration type breaks older servers."""
    return f"{round(duration_s * 1000)}ms"


def to_balance(row: Row) -> Balance:
    return Balance(
        available=row["available"],
        reserved=row["reserved"],
        captured=row["captured"],
        granted=row["granted"],
        closed=row.get("closed_at") is not None,
    )


def to_ledger_entry(row: Row) -> LedgerEntry:
    return LedgerEntry(
        id="/".join(str(part) for part in row["id"].id),
        kind=EntryKind(row["kind"]),
        credits=row["credits"],
        job_id=str(row["job"].id) if row.get("job") else None,
        at=row["at"],
        reason=row.get("reason"),
    )


def template_params(template: Template) -> dict[str, Any]:
    return {
        "template": RecordID("template", template.slug),
        "title": template.title,
        "prompt": template.prompt,
        "provider": template.provider,
        "duration_s": template.duration_s,
        "options": dict(template.options),
    }


def to_template(row: Row) -> Template:
    return Template(
        slug=str(row["id"].id),
        title=row["title"],
        prompt=row["prompt"],
        provider=row["provider"],
        duration_s=row["duration_s"],
        options=row["options"],
    )


def to_job(row: Row) -> Job:
    error = row.get("error")
    return Job(
        id=str(row["id"].id),
        email=row["email"],
        state=JobState(row["state"]),
        status=Status(row["status"]),
        template_id=row["template_id"],
        provider=row["provider"],
        fal_model=row.get("fal_model"),
        arguments=row["arguments"],
        duration_s=row["duration_s"],
        credits=row["credits"],
        expected_render_s=row["expected_render_s"],
        usual_render_s=row.get("usual_render_s"),
        start_image_key=row.get("start_image_key"),
        digest=row.get("digest"),
        submit_attempts=row["submit_attempts"],
        lookups=row["lookups"],
        finalise_attempts=row["finalise_attempts"],
        gone_attempts=row["gone_attempts"],
        fence=row["fence"],
        parked=row["parked"],
        parked_reason=row.get("parked_reason"),
        submission=_submission(row),
        past_requests=tuple(row["past_requests"]),
        source_url=row.get("source_url"),
        object_key=row.get("object_key"),
        object_size=row.get("object_size"),
        object_sha256=row.get("object_sha256"),
        thumbnail_key=row.get("thumbnail_key"),
        thumbnail_attempts=row.get("thumbnail_attempts") or 0,
        error=JobError(code=error["code"], message=error["message"]) if error else None,
        if_finished=IfFinished(row["if_finished"]) if row.get("if_finished") else None,
        cancel_accepted=row.get("cancel_accepted_at") is not None,
        recovers=str(row["recovers"].id) if row.get("recovers") else None,
        last_problem=row.get("last_problem"),
        deleted_at=row.get("deleted_at"),
        purge_attempts=row.get("purge_attempts") or 0,
        due=row.get("due"),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        attempted_at=row.get("attempted_at"),
        submitted_at=row.get("submitted_at"),
        rendered_at=row.get("rendered_at"),
        finished_at=row.get("finished_at"),
        read_at=row["read_at"],
    )


def _submission(row: Row) -> Submission | None:
    if row.get("fal_request_id") is None:
        return None
    return Submission(
        request_id=row["fal_request_id"],
        status_url=row.get("fal_status_url"),
        response_url=row.get("fal_response_url"),
        cancel_url=row.get("fal_cancel_url"),
    )


def to_inbox_entry(row: Row) -> InboxEntry:
    return InboxEntry(
        id=str(row["id"].id),
        job_id=str(row["job"].id),
        attempt=row["attempt"],
        request_id=row["request_id"],
        body=bytes(row["body"]),
        stale=row["stale"],
        attempts=row["attempts"],
        received_at=row["received_at"],
        handled_at=row.get("handled_at"),
        outcome=row.get("outcome"),
        parked=row["parked"],
        due=row.get("due"),
        taken_at=row.get("taken_at"),
    )


def to_pause(row: Row) -> Pause:
    return Pause(
        activity=Activity(row["id"].id),
        reason=row["reason"],
        since=row["since"],
        until=row["until"],
        shut=row["shut"],
        failures=row["failures"],
        manual=bool(row.get("manual")),
    )
