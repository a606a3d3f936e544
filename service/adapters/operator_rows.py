"""What operators look at: rows as values."""

from typing import Final

from service.adapters.rows import Row, to_job, to_ledger_entry
from service.domain.errors import Transient
from service.domain.job import Job, JobState
from service.domain.operators import (
    Action,
    DeliveryFacts,
    Door,
    JobRecord,
    Moments,
    NotedWriteOff,
    Totals,
)

_MOMENTS: Final = tuple(Moments.__dataclass_fields__)


def to_totals(row: Row) -> Totals:
    return Totals(
        at=row["at"],
        states={JobState(name): count or 0 for name, count in row["states"]},
        written_off=row["written_off"],
    )


def to_delivery_facts(row: Row) -> DeliveryFacts:
    return DeliveryFacts(
        id=str(row["id"].id),
        job_id=str(row["job"].id),
        attempt=row["attempt"],
        request_id=row["request_id"],
        size=row["size"],
        stale=row["stale"],
        attempts=row["attempts"],
        received_at=row["received_at"],
        handled_at=row.get("handled_at"),
        due=row.get("due"),
        outcome=row.get("outcome"),
        parked=row["parked"],
    )


def to_action(row: Row) -> Action:
    return Action(
        at=row["at"],
        door=Door(row["door"]),
        name=row["name"],
        arguments=row["arguments"],
        changed=row["changed"],
        job_id=str(row["job"].id) if row.get("job") else None,
    )


def to_job_record(found: Row) -> JobRecord:
    row = found["job"]
    since = found.get("in_library")
    return JobRecord(
        job=_job(row),
        moments=Moments(**{name: row.get(name) for name in _MOMENTS}),
        taken_over=row["taken_over"],
        lease_holder=row.get("lease_holder"),
        payload_kept=row.get("payload_kept"),
        deliveries=[to_delivery_facts(each) for each in found["deliveries"]],
        requests=list(found["requests"]),
        ledger=[to_ledger_entry(each) for each in found["ledger"]],
        write_offs=[_write_off(each) for each in found["write_offs"]],
        forgotten={str(each["id"].id): each["at"] for each in found["forgotten"]},
        late_job=str(found["late"].id) if found.get("late") else None,
        in_library_since=since or None,
        actions=[to_action(each) for each in found["actions"]],
    )


def _job(row: Row) -> Job:
    try:
        return to_job(row)
    except (KeyError, ValueError) as error:
        raise Transient("this job is in a state that only newer code knows") from error


def _write_off(row: Row) -> NotedWriteOff:
    return NotedWriteOff(
        request_id=row["request_id"],
        reason=row["reason"],
        credits=row["credits"],
        at=row["at"],
    )
