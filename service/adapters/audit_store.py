"""What the audit reads from SurrealDB: rows as the facts that domain/audit.py judges."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from surrealdb import RecordID

from service.adapters.queries import load_queries
from service.adapters.rows import (
    Row,
    account_record,
    job_record,
    rows_after,
    state_names,
)
from service.adapters.surreal import Database
from service.domain.audit import AuditAccount, AuditJob, Invariant, Violation
from service.domain.credits import EntryKind
from service.domain.job import JobState, Settlement, Status
from service.ports import Stray

PAGE: Final = 200  # rows at a time: a few tens of milliseconds of the engine, and few of ours


class SurrealAuditStore:
    """Implements ports.AuditStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries()

    async def audit_accounts(
        self, after: str | None = None, limit: int = PAGE
    ) -> list[AuditAccount]:
        cursor = None if after is None else account_record(after)
        rows = await self._page("audit_accounts", rows_after("account", cursor), limit)
        return [to_audit_account(row) for row in rows]

    async def audit_jobs(self, after: str | None, limit: int) -> list[AuditJob]:
        cursor = None if after is None else job_record(after)
        rows = await self._page("audit_jobs", rows_after("video_job", cursor), limit)
        return [to_audit_job(row) for row in rows]

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
        counts = await self._database.read(self._queries["audit_counts"])
        violations: list[Violation] = []
        for table in ("ledger", "library", "inbox"):
            last: RecordID | None = None
            while True:
                found = await self._page(f"audit_{table}", rows_after(table, last), PAGE)
                last = found["last"]
                if last is None:
                    break
                violations += _strays(found)
        return Stray(
            waiting=counts["waiting"],
            parked=counts["parked"],
            purges=counts["purges"],
            written_off=counts["written_off"],
            violations=tuple(violations),
        )

    async def _page(self, query: str, rows: RecordID, limit: int) -> Any:
        given = {"nothing": b""} if query == "audit_inbox" else {}
        return await self._database.read(self._queries[query], rows=rows, limit=limit, **given)


def _strays(found: Row) -> list[Violation]:
    problems = {
        "ledger": (Invariant.SETTLED_ONCE, "a settlement of no ended job"),
        "refunds": (Invariant.SETTLED_ONCE, "a refund of what its job did not capture"),
        "library": (Invariant.DELIVERED, "a library row of no ready job"),
        "inbox": (Invariant.ACCEPTED_IS_KEPT, "nothing will handle it"),
        "bodies": (Invariant.PURGED, "a raw delivery of a purged job"),
    }
    return [
        Violation(invariant, subject, problem)
        for table, (invariant, problem) in problems.items()
        for subject in found.get(table, ())
    ]


def to_audit_account(row: Row) -> AuditAccount:
    """An account's row beside the sums of its ledger entries and unfinished jobs."""
    unfinished = row["open"]
    return AuditAccount(
        name=str(row["id"].id),
        granted=row["granted"],
        available=row["available"],
        reserved=row["reserved"],
        captured=row["captured"],
        in_flight=row["in_flight"],
        entries={EntryKind(each["kind"]): each["credits"] for each in row["sums"]},
        open_jobs=sum(each["jobs"] for each in unfinished),
        open_credits=sum(each["credits"] for each in unfinished),
    )


def to_audit_job(row: Row) -> AuditJob:
    settlement = row.get("settlement")
    return AuditJob(
        id=str(row["id"].id),
        state=JobState(row["state"]),
        status=Status(row["status"]),
        credits=row["credits"],
        parked=row["parked"],
        due=row.get("due"),
        taken_over=row["taken_over"],
        has_error=row.get("error") is not None,
        object_key=row.get("object_key"),
        object_size=row.get("object_size"),
        object_sha256=row.get("object_sha256"),
        settlement=Settlement(settlement["kind"]) if settlement else None,
        settled_credits=settlement["credits"] if settlement else None,
        library_key=row.get("library_key"),
        deleted=row.get("deleted_at") is not None,
        purge_due=row.get("purge_due"),
        purged=row.get("purged_at") is not None,
    )
