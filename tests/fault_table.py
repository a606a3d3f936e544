"""The fault catalogue's rows, and the tests that prove them: `tests/FAULTS.md` is written here.

A test says what it proves in the first words of its docstring: `F46, F45: what holds.` A run of
the whole suite gathers the results by row. Rows that nothing can prove yet stand in OPEN, each
with its reason; a row that is proven but for a part stands in BUT.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
TABLE: Final = HERE / "FAULTS.md"
PROPERTY: Final = "fault rows"  # travels with each report from xdist's workers to the controller
_NAMED: Final = re.compile(r"(F\d+(?:,\s+F\d+)*)[:.]")
_MEANT: Final = re.compile(r"F\d")
ORDINARY: Final = "not long"  # the marker expression of the everyday run

TITLES: Final[Mapping[int, str]] = {
    1: "death before the reservation is committed",
    2: "death between reservation and POST",
    3: "fal accepts, the connection breaks",
    4: "fal accepts, a proxy answers 502",
    5: "fal's answer comes after our patience",
    6: "fal says 429 to a submission",
    7: "fal refuses the input at once",
    8: "fal refuses our key",
    9: "death before fal's request id is stored",
    10: "double click, retry, two tabs",
    11: "credit for one, many orders at once",
    12: "a hostile start image",
    13: "the price changes while a job renders",
    14: "our webhook address is wrong",
    15: "the webhook overtakes the submission's answer",
    16: "one delivery many times at once",
    17: "one delivery many times after the end",
    18: "fal's retries come after the sweep was done",
    19: "a video for a job that was refunded",
    20: "ERROR and OK about one request",
    21: "two requests of one job both make a video",
    22: "ERROR with a payload that could not be sent",
    23: "OK without a video in it",
    24: "errors that are final, errors that are not",
    25: "bad, missing or cut signatures, changed bytes",
    26: "a valid signature of another account",
    27: "a captured delivery is sent again",
    28: "our clock is ten minutes off",
    29: "absurd timestamps",
    30: "fal rotates its keys",
    31: "fal's key set is away",
    32: "a flood of garbage",
    33: "fal's key set is broken",
    34: "a delivery over the size limit",
    35: "poisonous JSON",
    36: "the database is away when a delivery comes",
    37: "the database commits, its answer is lost",
    38: "the delivery is noted, its work is not",
    39: "death between commit and 200",
    40: "a slow database when a delivery comes",
    41: "redirects on the way to the webhook",
    42: "a rolling restart under load",
    43: "the webhook never comes",
    44: "we are down for longer than fal retries",
    45: "death with the lease in hand",
    46: "a lease that ends during the transfer",
    47: "several reconcilers at once",
    48: "the file is gone",
    49: "the CDN breaks, resets, trickles",
    50: "the file is cut",
    51: "the file is no video",
    52: "the file is endless",
    53: "the file's address leads elsewhere",
    54: "the bucket fails in the middle of an upload",
    55: "death in the middle of an upload",
    56: "the object is stored, the answer is lost",
    57: "the bucket refuses us",
    58: "death between upload and settlement",
    59: "write conflicts at the capture",
    60: "death between capture and library",
    61: "a job that fails every time",
    62: "an extra such as a thumbnail fails",
    63: "a reservation grows old while fal renders",
    64: "fal's status never answers",
    65: "an error after the settlement",
    66: "refusal, sweep and cancel at once",
    67: "death between failure and refund",
    68: "a cancel during the transfer",
    69: "a cancel that fal ignores",
    70: "an account vanishes under its job",
    71: "two operators redrive the same job",
    72: "odd amounts",
    73: "SIGTERM in the middle",
    74: "a job that kills its worker",
    75: "old and new code side by side",
    76: "the database is restored from a backup",
    77: "a push is lost",
    78: "a stale ETag after the end",
    79: "reload, sleep, second device",
    80: "the sign-in runs out while waiting",
    81: "somebody else's job id",
    82: "old stuck jobs in front of fresh ones",
    83: "everything at once after an outage",
    84: "a clock that is wrong or jumps",
    85: "the disk is full",
    86: "a torn record after a power cut",
}

OPEN: Final[Mapping[int, str]] = {}

# Proven, but for this.
BUT: Final[Mapping[int, str]] = {}


@dataclass(slots=True)
class Tally:
    """What one test function came to, over all its parameters."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: set[str] = field(default_factory=set)

    @property
    def count(self) -> int:
        return self.passed + self.failed + self.skipped


def rows_in(docstring: str | None) -> tuple[int, ...]:
    """The rows that a test's docstring begins with. Raises ValueError if it does so badly."""
    text = (docstring or "").strip()
    if not _MEANT.match(text):
        return ()
    named = _NAMED.match(text)
    if named is None:
        raise ValueError(f"rows are named like 'F46, F45: what holds', not {text[:40]!r}")
    return tuple(int(each) for each in re.findall(r"\d+", named[1]))


def named_rows() -> dict[int, set[str]]:
    """Every row named by a test, and those tests: read from the sources, without running them."""
    found: dict[int, set[str]] = {}
    for path in sorted(HERE.rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue
        for name, docstring in _tests(path):
            for row in rows_in(docstring):
                found.setdefault(row, set()).add(f"{path.relative_to(HERE).as_posix()}::{name}")
    return found


def _tests(path: Path) -> Iterator[tuple[str, str | None]]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test"
        ):
            yield node.name, ast.get_docstring(node)


class Marker:
    """In every process that runs tests: notes on each report which rows it speaks about."""

    @pytest.hookimpl
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        function = getattr(item, "function", None)
        if rows := rows_in(getattr(function, "__doc__", None)):
            item.user_properties.append((PROPERTY, rows))


class Writer:
    """In the process that starts the run: gathers the reports, and writes the table at the end."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.ended: set[str] = set()

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self.ended.add(report.nodeid)
        if not any(name == PROPERTY for name, _ in report.user_properties):
            return
        name = report.nodeid.partition("[")[0].removeprefix(f"{HERE.name}/")
        tally = self.tallies.setdefault(name, Tally())
        if report.failed:
            tally.failed += 1
        elif report.skipped:
            tally.skipped += 1
            tally.reasons.add(_reason(report))
        elif report.when == "call":
            tally.passed += 1

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        everything = _is_whole(session.config) and len(self.ended) == session.testscollected
        if everything and not session.config.option.collectonly:
            TABLE.write_text(table(self.tallies), "utf-8")


def register(config: pytest.Config) -> None:
    """Take part in this process's run."""
    config.pluginmanager.register(Marker(), "fault_rows")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer(), "fault_table")


def _is_whole(config: pytest.Config) -> bool:
    """Whether the run leaves nothing out but what the everyday run leaves out."""
    asked = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    narrowed = config.option.keyword or config.option.markexpr != ORDINARY
    narrowed = (
        narrowed
        or any(config.getoption(each, None) for each in ("deselect", "ignore"))
        or config.getoption("lf", False)
    )
    return asked and not narrowed


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ").splitlines()[0]


def table(tallies: Mapping[str, Tally]) -> str:
    """The whole page: one line per row, then the counts and what is open."""
    named = named_rows()
    lines = [
        "# The fault catalogue, row by row",
        "",
        "Written by a run of the whole suite (`tests/fault_table.py`); do not edit. A number in",
        "brackets is how many cases a test ran; `long` tests are not part of that run.",
        "",
        "| row | what goes wrong | tests | result |",
        "|---|---|---|---|",
    ]
    results = {row: _result(row, named.get(row, set()), tallies) for row in TITLES}
    for row, title in TITLES.items():
        tests = "<br>".join(_shown(each, tallies) for each in sorted(named.get(row, ())))
        lines.append(f"| F{row} | {title} | {tests} | {results[row]} |")
    proven = [row for row, result in results.items() if result == "passed"]
    partly = [row for row in proven if row in BUT]
    rest = {row: result for row, result in results.items() if result != "passed"}
    lines += ["", f"Proven: {len(proven)} of {len(TITLES)} rows. Not proven: {len(rest)}.", ""]
    lines += [f"- F{row}: {result}" for row, result in rest.items()]
    if partly:
        lines += ["", f"Proven but for a part: {len(partly)}.", ""]
        lines += [f"- F{row}: {BUT[row]}" for row in partly]
    return "\n".join(lines) + "\n"


def _shown(test: str, tallies: Mapping[str, Tally]) -> str:
    tally = tallies.get(test)
    return f"`{test}` ({tally.count if tally else 'long'})"


def _result(row: int, tests: set[str], tallies: Mapping[str, Tally]) -> str:
    if row in OPEN:
        return f"open: {OPEN[row]}"
    ran = [tallies[each] for each in sorted(tests) if each in tallies]
    if any(each.failed for each in ran):
        return "failed"
    if any(each.passed for each in ran):
        return "passed"
    reasons = sorted(set[str]().union(*(each.reasons for each in ran)))
    return f"skipped: {'; '.join(reasons)}" if reasons else "not run"
