"""What must be true of a job when all is quiet, whatever happened to it."""

import hashlib
import logging
from typing import Any

from service.adapters.audit_store import SurrealAuditStore
from service.domain.verdict import Rendered, parse_result
from service.flows.audit import audit
from service.sandbox.records import Generation
from tests.crash.life import FINAL, Life
from tests.crash.plan import Fault, Kind, Race


async def problems(life: Life) -> list[str]:
    """Everything that is wrong with what a run left behind, in words."""
    rows = await life.rows("video_job")
    # Without the bucket: what is in it is compared below, byte by byte.
    report = await audit(SurrealAuditStore(life.store.database), None)
    found = [f"{each.invariant.name}: {each.subject}: {each.problem}" for each in report.violations]
    if report.deliveries_waiting:
        found.append(f"{report.deliveries_waiting} deliveries are still waiting")
    found += [f"nothing would have moved {name}" for name in sorted(set(life.stuck))]
    found += _ending(life, rows)
    found += _requests(life, {"video_job": rows, "write_off": await life.rows("write_off")})
    found += _objects(life, rows)
    found += _leftovers(life, rows, await life.rows("inbox"))
    return found


def _ending(life: Life, rows: list[dict[str, Any]]) -> list[str]:
    """One job, ended as its scenario says; beside it at most one that delivers its late video."""
    first = [row for row in rows if row.get("recovers") is None]
    late = [row for row in rows if row.get("recovers") is not None]
    if len(first) != 1 or len(late) > 1:
        return [f"{len(first)} jobs and {len(late)} for late videos"]
    allowed = _allowed(life)
    found = [] if _end(first[0]) in allowed else [_unlike(first[0], allowed)]
    return found + [_unlike(row, {"ready"}) for row in late if _end(row) != "ready"]


def _allowed(life: Life) -> set[str]:
    """How the job may end. A fault can keep an event of the scenario from coming in time."""
    scenario = life.run.scenario
    allowed = set(scenario.ends)
    if life.gave_up:
        allowed.add("cancelled")
    wished_twice = scenario.cancels and any(fault.race is Race.CANCEL for fault in life.plan.fired)
    if life.too_late or wished_twice or (scenario.closed_too_early and not life.closed):
        allowed.add("ready")
    return allowed


def _end(row: dict[str, Any]) -> str:
    return "parked" if row["parked"] and row["state"] not in FINAL else str(row["state"])


def _unlike(row: dict[str, Any], allowed: set[str]) -> str:
    why = row.get("parked_reason") or row.get("error") or row.get("last_problem")
    return f"ended {_end(row)} ({why}), not {' or '.join(sorted(allowed))}"


def _requests(life: Life, tables: dict[str, list[dict[str, Any]]]) -> list[str]:
    """One POST for each attempt, one paid video at most; any other one is on record."""
    found = []
    rows = tables["video_job"]
    posts, attempts = life.rig.stage.totals["submits"], sum(row["submit_attempts"] for row in rows)
    unsent = sum(_may_prevent_the_post(fault) for fault in life.plan.fired)
    if not attempts - unsent <= posts <= attempts:
        found.append(f"{posts} POSTs for {attempts} attempts, {unsent} of which may lack theirs")
    made = [each for each in life.rig.stage.queue.generations.values() if _is_billed(each)]
    delivered = {row["fal_request_id"] for row in rows if row["state"] == "ready"}
    known = delivered | {each["request_id"] for each in tables["write_off"]}
    known |= {name for row in rows for name in row["past_requests"]}
    unknown = [each.request_id for each in made if each.request_id not in known]
    if unknown:
        found.append(f"{len(made)} videos were made, and nobody knows of {unknown}")
    return found


def _may_prevent_the_post(fault: Fault) -> bool:
    """Whether it can keep a counted attempt from being sent: a death does, wherever it strikes."""
    between = ("begin_submission", "bucket.url", "fal.submit·b", "wire.submit·b")
    at_it = fault.point.startswith("send:") and any(name in fault.point for name in between)
    return at_it or fault.kind in {Kind.KILL, Kind.STOP}


def _is_billed(generation: Generation) -> bool:
    verdict = generation.verdict
    return verdict is not None and isinstance(
        parse_result(verdict.status_code, verdict.body), Rendered
    )


def _objects(life: Life, rows: list[dict[str, Any]]) -> list[str]:
    """A ready job's object has the recorded bytes; no other job has one; nothing is half there."""
    bucket = life.rig.objects
    found = [f"an unfinished upload of {each.key_name}" for each in bucket.multiparts.values()]
    for row in rows:
        stored = bucket.keys.get(row["object_key"])
        ready = row["state"] == "ready" and not row.get("deleted_at")
        if (stored is not None) != ready:
            found.append(f"{row['state']}, and the object is {'there' if stored else 'missing'}")
        if stored is not None and ready:
            digest = hashlib.sha256(stored.value).hexdigest()
            if (digest, len(stored.value)) != (row["object_sha256"], row["object_size"]):
                found.append("the object is not what the job says it is")
    return found


def _leftovers(life: Life, rows: list[dict[str, Any]], inbox: list[dict[str, Any]]) -> list[str]:
    """Of a deleted job nothing is left: no start image, no raw delivery, nothing at fal."""
    found = []
    for row in (each for each in rows if each.get("deleted_at")):
        if row.get("purge_due") or not row.get("purged_at"):
            found.append("deleted, and not purged")
        if row["start_image_key"] in life.rig.objects.keys:
            found.append("the start image of a deleted job is there")
        if any(bytes(each["body"]) for each in inbox if each["job"] == row["id"]):
            found.append("a raw delivery of a deleted job is there")
        known = {row.get("fal_request_id"), *row["past_requests"]}
        requests = life.rig.stage.queue.generations
        if row.get("payload_kept") is None and any(
            requests[each].body is not None for each in known if each in requests
        ):
            found.append("fal still has the input of a deleted job")
    return found


class Complaints(logging.Handler):
    """Exceptions that the service logged because it did not expect them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and record.exc_info[1] is not None:
            self.records.append(record)

    def of(self, life: Life) -> list[str]:
        """Those that no injected bug explains."""
        if any(fault.kind is Kind.BUG for fault in life.plan.fired):
            return []
        return [
            f"logged: {each.getMessage()}: {(each.exc_info or (0, 0))[1]!r}"
            for each in self.records
        ]
