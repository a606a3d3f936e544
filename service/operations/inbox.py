"""inbox.*: fal's deliveries that wait or need a person, raw bodies, another start."""

import base64
import dataclasses
import hashlib
from typing import Annotated

from pydantic import Field

from service.domain.inbox import InboxEntry
from service.domain.operators import DeliveryFacts
from service.operations.answers import (
    ChangedDelivery,
    DeliveriesAnswer,
    WholeDeliveryAnswer,
    delivery_answer,
)
from service.operations.base import Arguments, Context

Name = Annotated[str, Field(min_length=1, max_length=200)]
Limit = Annotated[int, Field(ge=1, le=200)]
_FACTS = {each.name for each in dataclasses.fields(DeliveryFacts)} - {"size"}


class ListDeliveries(Arguments):
    """One job's, or those that need a person, or the newest, or those still to be handled."""

    parked: bool = False
    recent: bool = False
    job_id: Name | None = None
    limit: Limit = 50


class ShowDelivery(Arguments):
    id: Name


class RedriveDelivery(Arguments):
    id: Name
    dry_run: bool = False


async def list_deliveries(context: Context, wanted: ListDeliveries) -> DeliveriesAnswer:
    found = await context.store.list_deliveries(
        parked=wanted.parked, recent=wanted.recent, job_id=wanted.job_id, limit=wanted.limit
    )
    return {"deliveries": [delivery_answer(each) for each in found]}


async def show(context: Context, wanted: ShowDelivery) -> WholeDeliveryAnswer:
    entry = await context.store.delivery(wanted.id)
    return {
        **delivery_answer(_facts(entry)),
        "sha256": hashlib.sha256(entry.body).hexdigest() if entry.body else None,
        "body": _text(entry.body),
        "bodyBase64": base64.b64encode(entry.body).decode(),
    }


async def redrive(context: Context, wanted: RedriveDelivery) -> ChangedDelivery:
    """Have a parked delivery handled once more. A repeat changes nothing."""
    entry = await context.store.delivery(wanted.id)
    would = "have the next sweep handle it once more"
    if wanted.dry_run and _is_parked(entry):
        return {"changed": False, "would": would, "said": would, "jobId": entry.job_id}
    if not wanted.dry_run and await context.store.redrive_delivery(entry.id):
        said = "redriven; the next sweep handles it"
        return {"changed": True, "said": said, "jobId": entry.job_id}
    how = f"handled: {entry.outcome}" if entry.handled_at else "waiting"
    said = f"it is not parked ({how}); nothing was changed"
    answer: ChangedDelivery = {"changed": False, "said": said, "jobId": entry.job_id}
    return {**answer, "would": "nothing"} if wanted.dry_run else answer


def _is_parked(entry: InboxEntry) -> bool:
    return entry.parked and entry.handled_at is None


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _facts(entry: InboxEntry) -> DeliveryFacts:
    told = {name: getattr(entry, name) for name in _FACTS}
    return DeliveryFacts(size=len(entry.body), **told)
