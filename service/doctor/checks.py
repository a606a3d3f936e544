"""What a check is, what it says, and how many of them run at once without hiding each other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from service.adapters.store import SurrealStore
from service.domain.errors import ServiceError
from service.settings import Problem, Settings

log = logging.getLogger(__name__)

DEADLINE_S: Final = 20.0  # of a check that does not say otherwise: a few calls with theirs


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # works, but not as it should in production
    FAIL = "fail"
    SKIPPED = "skipped"  # what it needs is not there


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check saw and, if that is not right, the sentence that says what to mend."""

    level: Level
    seen: str
    fix: str = ""


@dataclass(kw_only=True, slots=True)
class Case:
    """What the checks look at. `store` is there once the database's check has opened it.

    What a check opens for others is closed by `closing`, when all have ended.
    """

    settings: Settings
    closing: AsyncExitStack
    problems: Sequence[Problem] = ()
    store: SurrealStore | None = field(default=None, repr=False)


class Skip(Exception):
    """The check has nothing to look at; the message says what it needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the report, made once the checks it `needs` have passed.

    `settings` are those it depends on: where one of them has a problem, there is nothing to see.
    """

    name: str
    act: Callable[[Case], Awaitable[Verdict]]
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    deadline_s: float = DEADLINE_S


def ok(seen: str) -> Verdict:
    return Verdict(Level.OK, seen)


def warn(seen: str, fix: str) -> Verdict:
    return Verdict(Level.WARN, seen, fix)


def fail(seen: str, fix: str) -> Verdict:
    return Verdict(Level.FAIL, seen, fix)


def store_of(case: Case) -> SurrealStore:
    """The open database. Raises Skip where there is none to look into."""
    if case.store is None:
        raise Skip("needs a database that outlives its process")
    return case.store


async def examine(case: Case, checks: Sequence[Check]) -> dict[str, Verdict]:
    """Every check's verdict, in their order; whatever happens in one, the others are made."""
    running: dict[str, asyncio.Task[Verdict]] = {}
    async with asyncio.TaskGroup() as group:
        for check in checks:
            running[check.name] = group.create_task(_run(case, check, running))
    return {name: task.result() for name, task in running.items()}


async def _run(case: Case, check: Check, others: Mapping[str, asyncio.Task[Verdict]]) -> Verdict:
    if lacking := await _lacking(case, check, others):
        return Verdict(Level.SKIPPED, f"needs {', '.join(lacking)}")
    try:
        async with asyncio.timeout(check.deadline_s):
            return await check.act(case)
    except Skip as skip:
        return Verdict(Level.SKIPPED, str(skip))
    except TimeoutError:
        return fail(
            f"no end within {check.deadline_s:.0f} s", "see why what it asks does not answer"
        )
    except ServiceError as error:
        return fail(str(error), "see the service's log for what led to it")
    except Exception as error:
        log.exception("a check broke", extra={"check": check.name})
        return fail(f"the check itself broke: {type(error).__name__}", "report the error above")


async def _lacking(
    case: Case, check: Check, others: Mapping[str, asyncio.Task[Verdict]]
) -> list[str]:
    """What the check needs and does not have: settings without a problem, checks that passed."""
    broken = {each.setting for each in case.problems}
    lacking = [name.upper() for name in check.settings if name.upper() in broken]
    verdicts = {need: await others[need] for need in check.needs}
    passed = {Level.OK, Level.WARN}
    return lacking + [need for need, each in verdicts.items() if each.level not in passed]
