"""The fault catalogue stays accounted for: each row is proven by a test, or open with a reason."""

from pathlib import Path

import pytest

from tests import fault_table
from tests.fault_table import BUT, OPEN, PROPERTY, TITLES, Writer, named_rows, rows_in, table

LAST_ROW = 86


def test_every_row_of_the_catalogue_is_named_by_a_test_or_open_and_never_both() -> None:
    named = set(named_rows())
    assert list(TITLES) == list(range(1, LAST_ROW + 1))
    assert set(TITLES) - named - set(OPEN) == set(), "name it in a docstring, or give a reason"
    assert named & set(OPEN) == set(), "what a test proves is not open"
    assert named | set(OPEN) == set(TITLES), "there is no such row"
    assert set(BUT) <= named
    assert all([*TITLES.values(), *OPEN.values(), *BUT.values()])


@pytest.mark.parametrize(
    ("docstring", "rows"),
    [
        (None, ()),
        ("Nothing of the catalogue.", ()),
        ("F46, F45: what holds.", (46, 45)),
        ("\n    F1,\n    F2: over two lines.\n", (1, 2)),
        ("Fal says F5: not at the beginning.", ()),
    ],
)
def test_rows_are_named_in_a_docstrings_first_words(
    docstring: str | None, rows: tuple[int, ...]
) -> None:
    assert rows_in(docstring) == rows


@pytest.mark.parametrize("docstring", ["F46 and F45: x.", "F3 with F9: x.", "F12", "F1 F2: x"])
def test_rows_that_are_named_badly_are_an_error(docstring: str) -> None:
    with pytest.raises(ValueError, match="rows are named like"):
        rows_in(docstring)


def report(
    nodeid: str, row: int, *, when: str = "call", failed: bool = False, skipped: str | None = None
) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=nodeid,
        location=(nodeid, 0, nodeid),
        keywords={},
        outcome="failed" if failed else "skipped" if skipped else "passed",
        longrepr=("file", 1, f"Skipped: {skipped}") if skipped else None,
        when=when,  # type: ignore[arg-type]
        user_properties=[(PROPERTY, [row])],
    )


def test_the_table_tells_what_passed_failed_and_was_skipped_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
def test_good(): "F1: x."
def test_bad(): "F2: x."
def test_absent(): "F3, F1: x."
def test_slow(): "F4: x."
"""
    (tmp_path / "test_x.py").write_text(source, "utf-8")
    monkeypatch.setattr(fault_table, "HERE", tmp_path)
    monkeypatch.setattr(fault_table, "OPEN", {85: "there is no disk"})
    folder = tmp_path.name
    reports = [
        report(f"{folder}/test_x.py::test_good[a]", 1),
        report(f"{folder}/test_x.py::test_good[b]", 1),
        report(f"{folder}/test_x.py::test_bad[a]", 2),
        report(f"{folder}/test_x.py::test_bad[b]", 2, failed=True),
        report(f"{folder}/test_x.py::test_absent", 3, when="setup", skipped="no nginx here"),
    ]
    pages = set[str]()
    for order in (reports, reports[::-1]):
        writer = Writer()
        for each in order:
            writer.pytest_runtest_logreport(each)
        pages.add(table(writer.tallies))
    (page,) = pages
    lines = {line.split(" | ")[0]: line for line in page.splitlines() if line.startswith("| F")}
    assert len(lines) == LAST_ROW
    assert lines["| F1"].endswith("`test_x.py::test_good` (2) | passed |")
    assert "`test_x.py::test_absent` (1)" in lines["| F1"]
    assert lines["| F2"].endswith("`test_x.py::test_bad` (2) | failed |")
    assert lines["| F3"].endswith("`test_x.py::test_absent` (1) | skipped: no nginx here |")
    assert lines["| F4"].endswith("`test_x.py::test_slow` (long) | not run |")
    assert "| open: there is no disk |" in lines["| F85"]
    assert "- F2: failed" in page
    assert "Proven: 1 of 86 rows." in page
