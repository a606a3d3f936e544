"""Running somebody else's checker, and saying what it said."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.parts import program


def run_tool(
    name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> str:
    """Run a checker of this environment or of the system; what it printed. It has to pass."""
    here = Path(sys.executable).with_name(name)
    ran = subprocess.run(
        [here if here.exists() else program(name), *arguments],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout
