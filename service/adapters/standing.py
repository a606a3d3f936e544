"""How things stand, read from SurrealDB; and who runs the next audit."""

from collections import Counter
from typing import Final

from service.adapters.queries import load_queries
from service.adapters.rows import Row, seconds
from service.adapters.surreal import Database
from service.domain.job import JobState
from service.domain.pauses import Activity
from service.domain.standing import LastAudit, Standing

_STATES: Final = frozenset(JobState)
_ACTIVITIES: Final = frozenset(Activity)


class SurrealStanding:
    """Implements ports.audits.AuditRuns, and reads what the metrics show."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries()

    async def read(self) -> Standing:
        """One query. Raises Transient."""
        return to_standing(await self._database.read(self._queries["read_standing"]))

    async def last_audit(self) -> LastAudit | None:
        return _to_last_audit(await self._database.read(self._queries["read_last_audit"]))

    async def claim_audit(self, holder: str, *, apart_s: float, claim_s: float) -> bool:
        claimed = await self._database.write(
            self._queries["claim_audit"],
            holder=holder,
            apart=seconds(apart_s),
            claim=seconds(claim_s),
        )
        return bool(claimed)

    async def record_audit(self, holder: str, *, violations: int, took_s: float) -> bool:
        recorded = await self._database.write(
            self._queries["record_audit"],
            repeatable=False,
            holder=holder,
            passed=violations == 0,
            violations=violations,
            seconds=float(took_s),
        )
        return bool(recorded)


def to_standing(row: Row) -> Standing:
    """States and pauses that only newer code knows are left to that."""
    states: Counter[JobState] = Counter()
    for each in [*row["due"], *row["parked"]]:
        if each["state"] in _STATES:
            states[JobState(each["state"])] += each["jobs"]
    return Standing(
        states=states,
        parked_jobs=sum(each["jobs"] for each in row["parked"]),
        parked_deliveries=row["inbox_parked"],
        due_jobs=row["late"],
        due_oldest_s=float(row.get("late_s") or 0),
        inbox_waiting=row["waiting"],
        inbox_oldest_s=float(row.get("waiting_s") or 0),
        paused=frozenset(Activity(each) for each in row["paused"] if each in _ACTIVITIES),
        purges_waiting=row["purges"],
        written_off=row["written_off"],
        last_audit=_to_last_audit(row.get("audit")),
    )


def _to_last_audit(row: Row | None) -> LastAudit | None:
    at = row["at"] if row else None
    if row is None or at is None:
        return None
    return LastAudit(
        at=at,
        passed=row["passed"],
        violations=row["violations"],
        seconds=float(row["seconds"]),
        age_s=float(row["age_s"]),
    )
