"""The report says what was measured, whatever that was."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench import __main__ as program
from tests.bench import report
from tests.bench.__main__ import MODULES, bench, main
from tests.bench.effort import Effort
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, Series, count_of, figure, ratio_of

FASTER = ratio_of(
    "B1",
    "rate",
    [(200.0, 100.0), (90.0, 100.0), (300.0, 100.0)],
    names=("ours", "bare"),
    unit="/s",
    want=">=",
    target=0.85,
)
COUNTED = count_of("B4", "calls | per job", 3, unit="calls", want="<=", target=1, notes="why")


def test_a_ratio_is_the_median_of_the_pairs_ratios() -> None:
    assert (FASTER.value, FASTER.met, FASTER.wanted) == (2.0, True, "≥ 0.85")
    assert str(FASTER.ours) == "200 (90-300) /s"
    assert (COUNTED.value, COUNTED.met) == (3, False)


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (0.01234, "0.0123"), (1.5, "1.5"), (12345.6, "12,346")]
)
def test_figures_have_three_digits(value: float, said: str) -> None:
    assert figure(value) == said


def test_the_report_is_a_table_json_and_a_plot(tmp_path: Path) -> None:
    report.write(tmp_path, [FASTER, COUNTED])
    table = (tmp_path / "results.md").read_text("utf-8")
    rows = [line for line in table.splitlines() if line.startswith("| B")]
    assert [row.count("met") + row.count("**missed**") for row in rows] == [1, 1]
    assert "calls \\| per job" in rows[1]
    assert "- B4, calls | per job: why" in table
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert [each["met"] for each in found["results"]] == [True, False]
    assert found["results"][0]["ours"]["values"] == [200.0, 90.0, 300.0]
    drawn = ET.fromstring((tmp_path / "results.svg").read_text("utf-8"))
    bars = [each for each in drawn if each.get("fill") in {"#2a7f62", "#b5482f"}]
    assert len(bars) == 2


def test_a_report_keeps_what_is_not_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report.write(tmp_path, [FASTER, COUNTED])
    assert report.earlier(tmp_path) == [FASTER, COUNTED]

    async def measured(_: Effort) -> list[Result]:
        return [replace(COUNTED, value=1)]

    monkeypatch.setattr(program, "bench", lambda _: measured)
    assert main(["B4", "--out", str(tmp_path)]) == 0
    kept, anew = report.earlier(tmp_path)
    assert (kept, anew.value, anew.revision) == (FASTER, 1, report.revision())
    assert main(["B4", "--quick", "--out", str(tmp_path)]) == 0
    assert report.earlier(tmp_path) == [kept, anew]


def test_longer_is_better_whichever_way_a_target_points() -> None:
    nothing = Result(
        bench="B9",
        what="lost",
        ours=Series(name="ours", values=(0.0,), unit=""),
        beside=None,
        value=0,
        want="<=",
        target=0,
    )
    assert report.goodness(FASTER) > 1 > report.goodness(COUNTED)
    assert report.goodness(nothing) == report.MOST


async def test_ways_are_measured_in_turns_after_a_round_that_does_not_count() -> None:
    order = []

    def way(name: str) -> object:
        async def measured() -> float:
            order.append(name)
            return float(len(order))

        return measured

    found = await in_turns({"a": way("a"), "b": way("b")}, pairs=3)  # type: ignore[dict-item]
    assert "".join(order) == "ba" + "ab" + "ba" + "ab"
    assert paired(found, "a", "b") == [(3.0, 4.0), (6.0, 5.0), (7.0, 8.0)]


@pytest.mark.parametrize("name", MODULES)
def test_every_bench_can_be_called_by_its_name(name: str) -> None:
    assert callable(bench(name))


def test_an_unknown_bench_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["B99"])
    assert "no bench B99; there are B1, B2" in capsys.readouterr().err
