"""What a terminal is shown: aligned, bounded, and never a word that it would obey."""

import pytest

from service.commands.tables import WIDEST, cut, plain, safe, say_facts, say_steps, say_table


def test_columns_are_aligned_and_nothing_is_said_as_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_table(("id", "state"), [("v1", "ready"), ("v22", None)])
    say_table(("id",), [])
    assert capsys.readouterr().out == "id   state\nv1   ready\nv22\nnone\n"


def test_no_line_wraps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    say_table(("a", "b"), [("x" * 40, "y\n" * 100)])
    say_steps([{"at": None, "what": "w", "details": {f"n{each}": "x" * 10 for each in range(20)}}])
    lines = capsys.readouterr().out.splitlines()
    assert {len(each) <= 90 for each in lines} == {True}
    assert lines[1].endswith("…")
    monkeypatch.setenv("COLUMNS", "9999")
    assert len(cut("x" * 500)) == WIDEST


def test_facts_that_are_not_known_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    say_facts({"a": 0, "long name": "x", "b": None, "c": []})
    assert capsys.readouterr().out == "a          0\nlong name  x\n"


@pytest.mark.parametrize("trick", ["\x1b[2J", "\x07", "\r", "\x9b2J", "\u202e", "\u2028", "\x00"])
def test_what_a_terminal_would_obey_is_spelt_out(trick: str) -> None:
    assert trick not in safe(f"a{trick}b")
    assert safe(f"a{trick}b").startswith("a\\")
    assert "\n" not in plain(f"a{trick}\nb")


def test_words_of_every_script_and_line_breaks_of_a_body_stay() -> None:
    assert safe("Größe 大 🎬\n\tx") == "Größe 大 🎬\n\tx"
