"""The alerts, their runbook and the dashboard fit each other and what /metrics really exposes."""

import json
import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.__main__ import _parser
from service.adapters.metrics import Metrics
from service.domain.job import JobState
from service.domain.standing import LastAudit, Standing
from service.ports.signals import LABELS, Count, Level, Timing
from tests.parts import program
from tests.signals.scraping import Scraped

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "observability" / "alerts.yml"
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text("utf-8")
DASHBOARD = json.loads((DEPLOY / "observability" / "dashboard.json").read_text("utf-8"))
EXAMPLES = {"JOB": "v1", "ENTRY": "e1", "EMAIL": "ana@example.com"}
# Prometheus' own, and the library's about the process.
FOREIGN = {"up", "process_resident_memory_bytes"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    shown = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return [rule["expr"] for rule in rules()] + shown


def test_every_alert_fires_where_it_should_and_nowhere_else() -> None:
    promtool = program("promtool")
    for what in (
        ["check", "rules", RULES.name],
        ["test", "rules", "alerts_test.yml"],
        ["check", "config", "--syntax-only", "prometheus.yml"],
    ):
        ran = subprocess.run(
            [promtool, *what], cwd=RULES.parent, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_among_promtools_cases_and_in_the_runbook() -> None:
    names = {rule["alert"] for rule in rules()}
    cases = yaml.safe_load((RULES.parent / "alerts_test.yml").read_text("utf-8"))["tests"]
    fired = {
        test["alertname"]
        for case in cases
        for test in case["alert_rule_test"]
        if test.get("exp_alerts")
    }
    assert fired == names
    entries = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]
    assert [each.split()[0] for each in entries] == [rule["alert"] for rule in rules()]
    for entry in entries:
        for part in ("**Means:**", "**Users see:**", "**Do:**", "**Over when:**"):
            assert part in entry, f"{part} is missing for {entry.split()[0]}"


def test_every_command_of_the_runbook_is_one() -> None:
    commands = re.findall(r"`fal-video ([^`]+)`", RUNBOOK)
    assert len(commands) > 30
    for command in {each.replace("\n", " ") for each in commands}:
        words = [EXAMPLES.get(word, word) for word in shlex.split(command)]
        _parser(words[0]).parse_args(words)


async def test_rules_and_dashboard_use_only_metrics_and_labels_there_are() -> None:
    exposed = await everything()
    for expression in expressions():
        for name in re.findall(r"\b\w+\b", expression):
            if name.startswith(("fal_video_", "process_")) or name == "up":
                assert name in exposed.names | FOREIGN, f"{name} is no metric: {expression}"
        for name, labels in re.findall(r"\bfal_video_(\w+)\{([^}]*)\}", expression):
            used = set(re.findall(r"(\w+)\s*(?:=|!)", labels))
            assert used <= labels_of(name), f"{name} has no label {used - labels_of(name)}"
    named = set(re.findall(r"fal_video_\w+", RUNBOOK))
    assert named <= exposed.names


async def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(expressions())
    exposed = {each for each in (await everything()).names if each.startswith("fal_video_")}
    bare = {re.sub(r"_(bucket|sum|count)$", "", each) for each in exposed}
    unseen = {each for each in bare if each not in shown}
    assert unseen == {"fal_video_audit_passed", "fal_video_audit_took_seconds"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert DASHBOARD["uid"] == "fal-video"


def labels_of(name: str) -> set[str]:
    for signal, labels in LABELS.items():
        if name.startswith(signal.value):
            return {*labels, "le"}
    return {"parked": {"kind"}, "pause": {"activity"}, "jobs": {"state"}}.get(name, set())


async def everything() -> Scraped:
    """What /metrics exposes once every signal was given."""

    async def read() -> Standing:
        audit = LastAudit(at=datetime.now(UTC), passed=True, violations=0, seconds=1, age_s=1)
        return Standing(
            states={JobState.SUBMITTED: 1},
            parked_jobs=0,
            parked_deliveries=0,
            due_jobs=0,
            due_oldest_s=0,
            inbox_waiting=0,
            inbox_oldest_s=0,
            paused=frozenset(),
            purges_waiting=0,
            written_off=0,
            last_audit=audit,
        )

    metrics = Metrics(read)
    for signal, labels in LABELS.items():
        values = dict.fromkeys(labels, "x")
        match signal:
            case Count():
                metrics.count(signal, 1, **values)
            case Timing():
                metrics.observe(signal, 1, **values)
            case Level():
                metrics.level(signal, 1, **values)
    return Scraped((await metrics.exposed()).decode())


async def test_a_signal_with_other_labels_fails_nobody_and_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def read() -> Standing:
        raise AssertionError("nobody asked")

    metrics = Metrics(read)
    metrics.count(Count.SWEEPS, 1, surprise="x")
    metrics.observe(Timing.DATABASE, 1)
    metrics.level(Level.CANARY_OK, 1, surprise="x")
    assert [each.levelname for each in caplog.records] == ["ERROR"] * 3
    metrics.count(Count.SWEEPS)
    assert len(caplog.records) == 3
