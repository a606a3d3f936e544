"""The report: a Markdown table, JSON with every value, and a plot."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from tests.bench.results import Result, figure

WIDTH: Final = 860
ROW: Final = 26
LABEL: Final = 430
SPAN: Final = WIDTH - LABEL - 110
MOST: Final = 3.0  # times the target; what is beyond is drawn to the edge


def markdown(results: Sequence[Result]) -> str:
    lines = ["| # | what | ours | beside it | value | wanted | |", "|---|---|---|---|---|---|---|"]
    for each in results:
        beside = f"{each.beside.name}: {each.beside}" if each.beside else ""
        met = "met" if each.met else "**missed**"
        row = (each.bench, each.what, str(each.ours), beside, figure(each.value), each.wanted, met)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    notes = [f"- {each.bench}, {each.what}: {each.notes}" for each in results if each.notes]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def earlier(folder: Path) -> list[Result]:
    """What a folder's report holds already."""
    file = folder / "results.json"
    if not file.exists():
        return []
    return [Result.of_json(each) for each in json.loads(file.read_text("utf-8"))["results"]]


def write(folder: Path, results: Sequence[Result]) -> None:
    """results.json, results.md and results.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(), "results": [each.as_json() for each in results]}
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (folder / "results.json").write_text(text, "utf-8")
    (folder / "results.md").write_text(markdown(results), "utf-8")
    (folder / "results.svg").write_text(plot(results), "utf-8")


def machine() -> dict[str, Any]:
    """What the figures were measured on, without its name."""
    return {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def revision() -> str:
    """The commit that is checked out."""
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip()


def plot(results: Sequence[Result]) -> str:
    """How far each value is on the good side of its target; the line is the target itself."""
    height = ROW * (len(results) + 2)
    line = LABEL + SPAN / MOST
    rows = [_row(number, each) for number, each in enumerate(results, start=1)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">'
    )
    paper = f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    target = (
        f'<line x1="{line:.0f}" x2="{line:.0f}" y1="{ROW // 2}" y2="{height - ROW}" '
        f'stroke="#222" stroke-dasharray="4 3"/>'
    )
    legend = (
        f'<text x="{line:.0f}" y="{height - 9}" text-anchor="middle">the target; '
        f"longer is better</text>"
    )
    return "\n".join([head, paper, *rows, target, legend, "</svg>\n"])


def _row(number: int, result: Result) -> str:
    y = ROW * number - ROW // 2
    good = goodness(result)
    width = min(good, MOST) / MOST * SPAN
    colour = "#2a7f62" if result.met else "#b5482f"
    label = escape(f"{result.bench} {result.what}")
    value = escape(f"{figure(result.value)} ({result.wanted})")
    return (
        f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{label}</text>'
        f'<rect x="{LABEL}" y="{y + 3}" width="{max(width, 1):.1f}" height="{ROW - 8}" '
        f'fill="{colour}"/>'
        f'<text x="{LABEL + width + 6:.1f}" y="{y + 14}">{value}</text>'
    )


def goodness(result: Result) -> float:
    """1 at the target, 2 where it is twice as good."""
    if result.want == ">=":
        return result.value / result.target if result.target else MOST
    if result.value <= 0:
        return MOST
    return result.target / result.value
