"""fal-video doctor: the configuration, proven against the real services. Exit 1 if it fails."""

import argparse
import asyncio
import logging
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from service.commands.running import FAILED, say, say_json
from service.doctor.checks import Case, Level, Verdict, examine
from service.doctor.every import CHECKS
from service.logs import configure_logging
from service.settings import Needs, judge_settings

_WIDTH: Final = max(len(check.name) for check in CHECKS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """Look at everything, whatever is wrong with the settings; then say what was seen."""
    configure_logging("console", logging.CRITICAL)  # what matters is in the lines
    verdicts = asyncio.run(examined(os.environ))
    if options.json:
        say_json(report_view(verdicts))
    else:
        say(report_text(verdicts))
    return FAILED if failed(verdicts) else 0


async def examined(environ: Mapping[str, str]) -> dict[str, Verdict]:
    settings, problems = judge_settings(environ, Needs.WEB)
    async with AsyncExitStack() as closing:
        case = Case(settings=settings, problems=problems, closing=closing)
        return await examine(case, CHECKS)


def failed(verdicts: Mapping[str, Verdict]) -> bool:
    return any(each.level is Level.FAIL for each in verdicts.values())


def report_text(verdicts: Mapping[str, Verdict]) -> str:
    """A line for each check, and one for all."""
    lines = [_line(name, each) for name, each in verdicts.items()]
    counts = Counter(each.level for each in verdicts.values())
    return "\n".join([*lines, ", ".join(f"{counts[level]} {level}" for level in Level)])


def report_view(verdicts: Mapping[str, Verdict]) -> dict[str, object]:
    return {
        "passed": not failed(verdicts),
        "checks": [
            {"name": name, "level": each.level.value, "seen": each.seen, "fix": each.fix}
            for name, each in verdicts.items()
        ],
    }


def _line(name: str, verdict: Verdict) -> str:
    fix = f". To mend: {verdict.fix}." if verdict.fix else ""
    return f"{verdict.level:<7}  {name:<{_WIDTH}}  {verdict.seen}{fix}"
