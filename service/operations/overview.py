"""overview and operations.log: how everything stands, and what operators had done."""

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, TypedDict

from pydantic import Field

from service.adapters.standing import SurrealStanding
from service.domain.pauses import Pause
from service.domain.standing import LastAudit
from service.operations.answers import ActionsAnswer, action_answer, instant
from service.operations.base import Arguments, Context, NoArguments


class PauseAnswer(TypedDict):
    """`until`: the next try; null for a pause by hand, which lasts until it is resumed by hand."""

    activity: str
    reason: str
    since: str
    until: str | None
    failures: int
    manual: bool


class AuditAnswer(TypedDict):
    """What the last periodic audit found."""

    at: str
    passed: bool
    violations: int
    ageS: int


class OverviewAnswer(TypedDict):
    """Ages in seconds; null where there is nothing to be old."""

    asOf: str
    states: dict[str, int]
    parked: dict[str, int]
    due: dict[str, int | None]
    inbox: dict[str, int | None]
    pauses: list[PauseAnswer]
    purgesWaiting: int
    lastAudit: AuditAnswer | None
    writtenOff: int
    version: str


class LogArguments(Arguments):
    limit: Annotated[int, Field(ge=1, le=200)] = 50


async def overview(context: Context, _: NoArguments) -> OverviewAnswer:
    standing = await SurrealStanding(context.store.database).read()
    totals = await context.store.totals()
    audit = standing.last_audit
    return {
        "asOf": instant(totals.at),
        "states": {state.value: count for state, count in totals.states.items()},
        "parked": {"jobs": standing.parked_jobs, "deliveries": standing.parked_deliveries},
        "due": _age("jobs", standing.due_jobs, standing.due_oldest_s),
        "inbox": _age("waiting", standing.inbox_waiting, standing.inbox_oldest_s),
        "pauses": [pause_answer(each) for each in await context.store.pauses()],
        "purgesWaiting": standing.purges_waiting,
        "lastAudit": None if audit is None else _audit_answer(audit),
        "writtenOff": totals.written_off,
        "version": _version(),
    }


async def log(context: Context, arguments: LogArguments) -> ActionsAnswer:
    found = await context.store.actions(arguments.limit)
    return {"actions": [action_answer(each) for each in found]}


def pause_answer(pause: Pause) -> PauseAnswer:
    return {
        "activity": pause.activity.value,
        "reason": pause.reason,
        "since": instant(pause.since),
        "until": None if pause.manual else instant(pause.until),
        "failures": pause.failures,
        "manual": pause.manual,
    }


def _age(what: str, count: int, oldest_s: float) -> dict[str, int | None]:
    return {what: count, "oldestS": int(oldest_s) if count else None}


def _audit_answer(audit: LastAudit) -> AuditAnswer:
    return {
        "at": instant(audit.at),
        "passed": audit.passed,
        "violations": audit.violations,
        "ageS": int(audit.age_s),
    }


def _version() -> str:
    try:
        return version("fal-video")
    except PackageNotFoundError:  # run from a tree that was never installed
        return "unknown"
