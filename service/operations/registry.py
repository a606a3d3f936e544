"""The registry: every operation by its name, and the one way to perform one."""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from service.domain.errors import FieldError, Invalid, NotFound, ServiceError, TookTooLong
from service.operations import (
    accounts,
    auditing,
    inbox,
    jobs,
    money,
    overview,
    pauses,
    templates,
)
from service.operations.base import LONG_S, Arguments, Context, NoArguments, Operation

logger = logging.getLogger(__name__)

_ALL: Final[tuple[Operation[Any], ...]] = (
    Operation(name="overview", takes=NoArguments, run=overview.overview),
    Operation(name="operations.log", takes=overview.LogArguments, run=overview.log),
    Operation(name="jobs.list", takes=jobs.ListJobs, run=jobs.list_jobs),
    Operation(name="jobs.show", takes=jobs.ShowJob, run=jobs.show),
    Operation(name="jobs.redrive", takes=jobs.RedriveJob, run=jobs.redrive, acts=True),
    Operation(name="jobs.cancel", takes=jobs.CancelJob, run=jobs.cancel, acts=True),
    Operation(name="inbox.list", takes=inbox.ListDeliveries, run=inbox.list_deliveries),
    Operation(name="inbox.show", takes=inbox.ShowDelivery, run=inbox.show),
    Operation(name="inbox.redrive", takes=inbox.RedriveDelivery, run=inbox.redrive, acts=True),
    Operation(name="credits.show", takes=money.ShowCredits, run=money.show),
    Operation(name="credits.grant", takes=money.GrantCredits, run=money.grant, acts=True),
    Operation(name="credits.refund", takes=money.RefundCredits, run=money.refund, acts=True),
    Operation(name="templates.list", takes=NoArguments, run=templates.list_templates),
    Operation(
        name="templates.load",
        takes=templates.LoadTemplates,
        run=templates.load,
        acts=True,
        noted=templates.slugs,
    ),
    Operation(name="accounts.close", takes=accounts.CloseAccount, run=accounts.close, acts=True),
    Operation(name="audit.run", takes=auditing.RunAudit, run=auditing.run, limit_s=LONG_S),
    Operation(name="pauses.list", takes=NoArguments, run=pauses.list_pauses),
    Operation(name="pauses.pause", takes=pauses.Pause, run=pauses.pause, acts=True),
    Operation(name="pauses.resume", takes=pauses.Resume, run=pauses.resume, acts=True),
)

OPERATIONS: Final[Mapping[str, Operation[Any]]] = {each.name: each for each in _ALL}


@dataclass(frozen=True, slots=True)
class Call:
    """An operation with arguments that fit it."""

    operation: Operation[Any]
    arguments: Arguments


def read_call(name: str, text: str | bytes) -> Call:
    """What is asked for. Raises NotFound for an unknown name, and Invalid with every problem."""
    operation = OPERATIONS.get(name)
    if operation is None:
        raise NotFound(f"there is no operation {name[:50]!r}")
    try:
        return Call(operation, operation.takes.model_validate_json(text or b"{}"))
    except ValidationError as error:
        raise Invalid([_field_error(each) for each in error.errors()]) from None


async def perform(context: Context, call: Call) -> Mapping[str, Any]:
    """Do it, and note it if it is an act. Raises what the operation raises, and TookTooLong."""
    operation = call.operation
    try:
        async with asyncio.timeout(operation.limit_s):
            answer = await operation.run(context, call.arguments)
    except TimeoutError as error:
        if _is_act(call):  # it may have been done
            given = call.arguments.model_dump(mode="json", by_alias=True)
            await _note(context, call, {**given, "changed": True}, outcome="unknown")
        raise TookTooLong(_late(call)) from error
    if _is_act(call):
        await _note(context, call, answer)
    return answer


def _is_act(call: Call) -> bool:
    return call.operation.acts and not getattr(call.arguments, "dry_run", False)


def _late(call: Call) -> str:
    late = f"{call.operation.name} took longer than {call.operation.limit_s:g} s"
    if not _is_act(call):
        return late
    name = getattr(call.arguments, "id", None)
    repeat = f"repeat it with the id {name}, under which it is done once" if name else "look first"
    return f"{late}; whether it was done is not known: {repeat}"


async def _note(context: Context, call: Call, answer: Mapping[str, Any], **more: str) -> None:
    """Note an act for good. It has been done: failing to note it does not fail it."""
    name, changed = call.operation.name, bool(answer["changed"])
    job_id = _job_of(answer)
    facts = {"operation": name, "door": context.door.value, "changed": changed, "job_id": job_id}
    logger.warning("operator action", extra=facts)
    try:
        await context.store.note_action(
            secrets.token_hex(12),
            context.door,
            name,
            call.operation.noted(call.arguments) | more,
            changed=changed,
            job_id=job_id,
        )
    except ServiceError as error:
        logger.error("operator action not noted", extra={**facts, "reason": str(error)})  # noqa: TRY400


def _job_of(answer: Mapping[str, Any]) -> str | None:
    job = answer.get("job")
    found = job["id"] if job else answer.get("jobId")
    return None if found is None else str(found)


def _field_error(error: Any) -> FieldError:
    path = ".".join(str(each) for each in error["loc"])
    return FieldError(path or "arguments", error["msg"].removeprefix("Value error, "))
