"""What the audit reads from SurrealDB: rows as the facts that domain/audit.py judges."""

from collections.abc import Collection, Sequence

from service.adapters.queries import load_queries
from service.adapters.rows import Row, job_record, maybe_moment, state_names
from service.adapters.surreal import Database
from service.domain.audit import AuditAccount, AuditJob, Invariant, Violation
from service.domain.credits import EntryKind
from service.domain.job import JobState, Settlement, Status
from service.ports import Stray


class SurrealAuditStore:
    """Implements ports.AuditStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries()

    async def audit_accounts(self) -> list[AuditAccount]:
        found = await self._database.read(self._queries["audit_accounts"])
        return [to_audit_account(row, found["sums"], found["open"]) for row in found["accounts"]]

    async def audit_jobs(self, after: str | None, limit: int) -> list[AuditJob]:
        cursor = None if after is None else job_record(after)
        return [
            to_audit_job(row)
            for row in await self._database.read(
                self._queries["audit_jobs"], after=cursor, limit=limit
            )
        ]

    async def audit_owners(
        self, job_ids: Sequence[str], states: Collection[JobState]
    ) -> frozenset[str]:
        found = await self._database.read(
            self._queries["audit_owners"],
            jobs=[job_record(each) for each in job_ids],
            states=state_names(frozenset(states)),
        )
        return frozenset(str(each.id) for each in found)

    async def audit_poster_owners(self, job_ids: Sequence[str]) -> frozenset[str]:
        found = await self._database.read(
            self._queries["audit_poster_owners"], jobs=[job_record(each) for each in job_ids]
        )
        return frozenset(str(each.id) for each in found)

    async def audit_stray(self) -> Stray:
        found = await self._database.read(self._queries["audit_stray"], nothing=b"")
        problems = {
            "ledger": (Invariant.SETTLED_ONCE, "a settlement of no ended job"),
            "library": (Invariant.DELIVERED, "a library row of no ready job"),
            "inbox": (Invariant.ACCEPTED_IS_KEPT, "nothing will handle it"),
            "bodies": (Invariant.PURGED, "a raw delivery of a purged job"),
        }
        violations = [
            Violation(invariant, subject, problem)
            for table, (invariant, problem) in problems.items()
            for subject in found[table]
        ]
        return Stray(
            waiting=found["waiting"],
            parked=found["parked"],
            purges=found["purges"],
            written_off=found["written_off"],
            violations=tuple(violations),
        )


def to_audit_account(row: Row, sums: list[Row], unfinished: list[Row]) -> AuditAccount:
    """An account's row beside the grouped sums of its ledger entries and unfinished jobs."""
    open_rows = [each for each in unfinished if each["account"] == row["id"]]
    return AuditAccount(
        name=str(row["id"].id),
        granted=row["granted"],
        available=row["available"],
        reserved=row["reserved"],
        captured=row["captured"],
        in_flight=row["in_flight"],
        entries={
            EntryKind(each["kind"]): each["credits"]
            for each in sums
            if each["account"] == row["id"]
        },
        open_jobs=sum(each["jobs"] for each in open_rows),
        open_credits=sum(each["credits"] for each in open_rows),
    )


def to_audit_job(row: Row) -> AuditJob:
    settlement = row.get("settlement")
    return AuditJob(
        id=str(row["id"].id),
        state=JobState(row["state"]),
        status=Status(row["status"]),
        credits=row["credits"],
        parked=row["parked"],
        due=maybe_moment(row.get("due")),
        taken_over=row["taken_over"],
        has_error=row.get("error") is not None,
        object_key=row.get("object_key"),
        object_size=row.get("object_size"),
        object_sha256=row.get("object_sha256"),
        settlement=Settlement(settlement["kind"]) if settlement else None,
        settled_credits=settlement["credits"] if settlement else None,
        library_key=row.get("library_key"),
        deleted=row.get("deleted_at") is not None,
        purge_due=maybe_moment(row.get("purge_due")),
        purged=row.get("purged_at") is not None,
    )
