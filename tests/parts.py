"""Parts of the surroundings that Python cannot supply: from npm, or from the system.

A machine without them skips the tests that need them, each saying why. `REQUIRE_ALL_PARTS=1`,
which CI sets, turns the skip into a failure.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final, NoReturn

import pytest

INSTALL_S: Final = 300  # a download of some 100 MB, once per machine
_DONE: Final = ".installed"


def thorough() -> bool:
    """Whether every variation is tried, as in CI (THOROUGH=1), or what fits in five minutes."""
    return bool(os.environ.get("THOROUGH"))


def missing(reason: str) -> NoReturn:
    """Skip the test that is running, or fail it where every part has to be there."""
    if os.environ.get("REQUIRE_ALL_PARTS"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str) -> str:
    """The program's path; the test is skipped where there is none."""
    return shutil.which(name) or missing(f"{name} is not installed here")


def free_ports(count: int) -> list[int]:
    """So many different ports: one asked for after another is closed can be that one again."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in probes:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in probes]


def npm_packages(folder: Path) -> Path:
    """`folder`/node_modules as its package-lock.json wants it, installed when it is not yet.

    Test processes start together; the first one installs and the others wait for it.
    """
    npm = program("npm")
    lock = (folder / "package-lock.json").read_text("utf-8")
    modules = folder / "node_modules"
    with (folder / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        done = modules / _DONE
        if not done.is_file() or done.read_text("utf-8") != lock:
            command = [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
            ran = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False
            )
            if ran.returncode:
                missing(f"npm ci in {folder.name} failed: {ran.stderr[-500:]}")
            done.write_text(lock, "utf-8")
    return modules
