"""The rest of the gate: lint, format, types, import contracts, and sizes that stay readable."""

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 60


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["lint-imports"],
    ],
    ids=["lint", "format", "types", "imports"],
)
@pytest.mark.timeout(300)
def test_the_tool_finds_nothing(command: list[str]) -> None:
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_and_functions_stay_readable() -> None:
    modules = {path: len(path.read_text("utf-8").splitlines()) for path in _modules()}
    functions = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in modules
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in functions.items() if lines > MAX_FUNCTION_LINES} == {}
    assert {str(path): lines for path, lines in modules.items() if lines > MAX_MODULE_LINES} == {}
    assert statistics.median(functions.values()) <= 12
    assert statistics.median(modules.values()) <= 120


def test_the_top_level_holds_only_what_it_should() -> None:
    shown = {each.name for each in ROOT.iterdir() if not each.name.startswith(".")}
    wanted = {"pyproject.toml", "README.md", "service", "migrations", "tests", "deploy"}
    assert shown - {"uv.lock"} == wanted


def _modules() -> Iterator[Path]:
    return (ROOT / "service").rglob("*.py")
