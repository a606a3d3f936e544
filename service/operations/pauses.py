"""pauses.*: the switches by which a person stops submitting or finalising, for all processes."""

from typing import Annotated, TypedDict

from pydantic import Field

from service.domain.pauses import Activity
from service.operations.base import Arguments, Context, NoArguments
from service.operations.overview import PauseAnswer, pause_answer


class Pause(Arguments):
    activity: Activity
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Resume(Arguments):
    activity: Activity


class PausesAnswer(TypedDict):
    pauses: list[PauseAnswer]


class ChangedPauses(PausesAnswer):
    changed: bool
    said: str


async def list_pauses(context: Context, _: NoArguments) -> PausesAnswer:
    return {"pauses": [pause_answer(each) for each in await context.store.pauses()]}


async def pause(context: Context, wanted: Pause) -> ChangedPauses:
    """Stop an activity until it is resumed by hand; what is under way goes on to its end.

    Orders are taken all the same, and wait. A repeat with the same reason changes nothing.
    """
    changed = await context.store.pause_by_hand(wanted.activity, wanted.reason)
    said = "paused until it is resumed" if changed else "was paused by hand already"
    return await _now(context, f"{wanted.activity} {said}", changed=changed)


async def resume(context: Context, wanted: Resume) -> ChangedPauses:
    """Let an activity go on, whoever paused it. What still fails is paused again by itself."""
    changed = await context.store.resume_by_hand(wanted.activity)
    said = "resumed" if changed else "was not paused; nothing was changed"
    return await _now(context, f"{wanted.activity} {said}", changed=changed)


async def _now(context: Context, said: str, *, changed: bool) -> ChangedPauses:
    found = await context.store.pauses()
    return {"changed": changed, "said": said, "pauses": [pause_answer(each) for each in found]}
