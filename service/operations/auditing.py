"""audit.run: the invariants of money, jobs and videos, by count, on live data."""

from contextlib import AsyncExitStack
from typing import TypedDict

from service.adapters.audit_store import SurrealAuditStore
from service.flows.audit import AuditReport, audit, audit_bucket
from service.operations.base import Arguments, Context


class ViolationAnswer(TypedDict):
    invariant: str
    subject: str
    problem: str


class ReportAnswer(TypedDict):
    passed: bool
    accounts: int
    jobs: int
    objects: int
    stored: int
    parked: int
    endedBefore: int
    deliveriesWaiting: int
    deliveriesParked: int
    purgesWaiting: int
    writtenOff: int
    states: dict[str, int]
    violations: list[ViolationAnswer]


class RunAudit(Arguments):
    """`objects`: ask the bucket for each video. `orphans`: search it for what belongs to nobody."""

    objects: bool = False
    orphans: bool = False


async def run(context: Context, wanted: RunAudit) -> ReportAnswer:
    facts = SurrealAuditStore(context.store.database)
    async with AsyncExitStack() as stack:
        bucket = None
        if wanted.objects or wanted.orphans:
            bucket = await stack.enter_async_context(context.open_bucket())
        report = await audit(facts, bucket if wanted.objects else None)
        if wanted.orphans and bucket is not None:
            await audit_bucket(report, facts, bucket)
    return report_answer(report)


def report_answer(report: AuditReport) -> ReportAnswer:
    return {
        "passed": report.passed,
        "accounts": report.accounts,
        "jobs": report.jobs,
        "objects": report.objects,
        "stored": report.stored,
        "parked": report.parked,
        "endedBefore": report.ended_before_us,
        "deliveriesWaiting": report.deliveries_waiting,
        "deliveriesParked": report.deliveries_parked,
        "purgesWaiting": report.purges_waiting,
        "writtenOff": report.written_off,
        "states": {state.value: count for state, count in report.states.items()},
        "violations": [
            {"invariant": each.invariant.name, "subject": each.subject, "problem": each.problem}
            for each in report.violations
        ],
    }
