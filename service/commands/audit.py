"""fal-video audit: the invariants, by count, on live data. Exit code 1 if one is violated."""

import argparse
from contextlib import AsyncExitStack
from functools import partial

from service.adapters.audit_store import SurrealAuditStore
from service.commands.running import run_command, say, say_json
from service.domain.audit import Invariant
from service.flows.audit import AuditReport, audit, audit_bucket
from service.settings import Needs, Settings
from service.wiring import open_bucket_alone, open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-objects", action="store_true", help="do not ask the bucket")
    parser.add_argument(
        "--orphans", action="store_true", help="also search the bucket for what belongs to nobody"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    needs = Needs.DATABASE if options.no_objects else Needs.WORK
    return run_command(partial(audit_now, options=options), needs)


async def audit_now(settings: Settings, options: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        bucket = None
        if not options.no_objects:
            bucket = await stack.enter_async_context(open_bucket_alone(settings))
        facts = SurrealAuditStore(store.database)
        report = await audit(facts, bucket)
        if options.orphans and bucket is not None:
            await audit_bucket(report, facts, bucket)
    if options.json:
        say_json(report_view(report))
    else:
        print_report(report)
    return 0 if report.passed else 1


def print_report(report: AuditReport) -> None:
    """The report for people: what was looked at, then each invariant."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(report.states.items()))
    say(f"accounts {report.accounts}, jobs {report.jobs} ({states or 'none'})")
    say(f"objects {report.objects}, parked {report.parked}, ended before {report.ended_before_us}")
    say(
        f"deliveries waiting {report.deliveries_waiting}, parked {report.deliveries_parked};"
        f" purges waiting {report.purges_waiting}; written off {report.written_off} credits"
    )
    for invariant in Invariant:
        broken = [each for each in report.violations if each.invariant is invariant]
        say(f"{'FAIL' if broken else ' ok '}  {invariant.value}")
        for each in broken:
            say(f"        {each.subject}: {each.problem}")
    say("audit passed" if report.passed else f"audit FAILED: {len(report.violations)} violations")


def report_view(report: AuditReport) -> dict[str, object]:
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
        "states": dict(report.states),
        "violations": [
            {"invariant": each.invariant.name, "subject": each.subject, "problem": each.problem}
            for each in report.violations
        ],
    }
