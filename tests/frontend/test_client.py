"""The browser client on Node, against servers that fail as networks do; and its types."""

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.parts import npm_packages, program

HERE: Final = Path(__file__).parent
FRONTEND: Final = HERE.parents[1] / "service" / "frontend"
PATIENCE_S: Final = 60  # for all tests of a file; each has its own, below
TEST_MS: Final = 20_000
# A test that failed may leave a watch behind, which would keep its process alive.
NODE_TESTS: Final = (
    "--test",
    "--test-force-exit",
    f"--test-timeout={TEST_MS}",
    "--test-reporter=spec",
)


def _run(*command: str) -> None:
    ran = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"


@pytest.mark.parametrize("tests", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.name)
def test_the_client_on_node(tests: Path) -> None:
    _run(program("node"), *NODE_TESTS, tests.name)


def test_the_code_keeps_to_its_types_and_so_must_who_uses_it() -> None:
    modules = npm_packages(HERE)
    _run(str(modules / ".bin" / "tsc"), "--project", ".")


def test_the_package_holds_all_that_its_modules_import() -> None:
    """Nothing is built, so what is published is what is here."""
    described = json.loads((FRONTEND / "package.json").read_text("utf-8"))
    files = [FRONTEND / name for name in described["files"]]
    assert all(each.exists() for each in files)
    published = {path for each in files for path in (each.rglob("*") if each.is_dir() else [each])}
    for entry in described["exports"].values():
        assert {FRONTEND / entry[kind] for kind in ("types", "default")} <= published
    script = "import(process.argv[1]).then((it) => console.log(Object.keys(it).join()))"
    entry = (FRONTEND / described["exports"]["."]["default"]).as_uri()
    ran = subprocess.run(
        [program("node"), "--eval", script, entry],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert ran.stdout.split() == ["VideoClientError,createVideoClient"]
