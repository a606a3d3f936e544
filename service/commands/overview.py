"""fal-video overview: how everything stands, on one screen."""

import argparse
from typing import Any

from service.commands.asking import ask
from service.commands.pauses import show_pauses
from service.commands.running import say
from service.commands.tables import moment, say_facts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    return ask("overview", {}, show_overview, as_json=options.json)


def show_overview(answer: Any) -> None:
    states = ", ".join(f"{count} {state}" for state, count in answer["states"].items() if count)
    parked, due, inbox = answer["parked"], answer["due"], answer["inbox"]
    audit = answer["lastAudit"]
    say_facts(
        {
            "as of": f"{moment(answer['asOf'])} UTC, version {answer['version']}",
            "jobs": states or "none",
            "parked": f"{parked['jobs']} jobs, {parked['deliveries']} deliveries",
            "due": _with_age(f"{due['jobs']} jobs", due["oldestS"]),
            "inbox": _with_age(f"{inbox['waiting']} waiting", inbox["oldestS"]),
            "purges": f"{answer['purgesWaiting']} waiting",
            "written off": f"{answer['writtenOff']} credits",
            "last audit": _audit(audit) if audit else "none yet",
        }
    )
    say("paused:")
    show_pauses(answer)


def _with_age(what: str, oldest_s: int | None) -> str:
    return what if oldest_s is None else f"{what}, the oldest for {oldest_s} s"


def _audit(audit: Any) -> str:
    found = "passed" if audit["passed"] else f"FAILED with {audit['violations']} violations"
    return f"{found} at {moment(audit['at'])}"
