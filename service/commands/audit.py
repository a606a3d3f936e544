"""fal-video audit: the invariants, by count, on live data. Exit code 1 if one is violated."""

import argparse
from typing import Any

from service.commands.asking import ask
from service.commands.running import say
from service.commands.tables import plain
from service.domain.audit import Invariant


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-objects", action="store_true", help="do not ask the bucket")
    parser.add_argument(
        "--orphans", action="store_true", help="also search the bucket for what belongs to nobody"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    asked = not options.no_objects
    given = {"objects": asked, "orphans": asked and options.orphans}
    return ask(
        "audit.run", given, print_report, as_json=options.json, failed=lambda it: not it["passed"]
    )


def print_report(report: Any) -> None:
    """The report for people: what was looked at, then each invariant."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(report["states"].items()))
    say(f"accounts {report['accounts']}, jobs {report['jobs']} ({states or 'none'})")
    say(
        f"objects {report['objects']}, parked {report['parked']},"
        f" ended before {report['endedBefore']}"
    )
    say(
        f"deliveries waiting {report['deliveriesWaiting']}, parked {report['deliveriesParked']};"
        f" purges waiting {report['purgesWaiting']}; written off {report['writtenOff']} credits"
    )
    for invariant in Invariant:
        broken = [each for each in report["violations"] if each["invariant"] == invariant.name]
        say(f"{'FAIL' if broken else ' ok '}  {invariant.value}")
        for each in broken:
            say(f"        {plain(each['subject'])}: {plain(each['problem'])}")
    found = len(report["violations"])
    say("audit passed" if report["passed"] else f"audit FAILED: {found} violations")
