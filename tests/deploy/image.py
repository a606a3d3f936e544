"""The image without a container engine: the same packages and the same files, in folders."""

import fnmatch
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from tests.deploy.files import DEPLOY, ROOT, image_environment, instructions
from tests.parts import missing, program

INSTALL_S: Final = 120
_IGNORED: Final = [
    line
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


@dataclass(frozen=True, slots=True)
class Image:
    """Its Python with the packages of the requirements, and its working folder."""

    python: Path
    app: Path

    def environment(self) -> dict[str, str]:
        """What the image sets, without what is said about places."""
        return {name: each for name, each in image_environment().items() if name != "PATH"}


def sent_to_the_builder(path: Path) -> bool:
    """Whether .dockerignore lets this file of the project in; the last line that matches counts."""
    inside = PurePosixPath(path.relative_to(ROOT))
    let_in = True
    for line in _IGNORED:
        pattern = line.removeprefix("!")
        if any(fnmatch.fnmatch(str(each), pattern) for each in (inside, *inside.parents)):
            let_in = line.startswith("!")
    return let_in


def copied() -> Iterator[tuple[Path, str]]:
    """Each file that the Dockerfile copies out of the project, and where to."""
    for line in instructions("COPY"):
        if line.startswith("--from"):
            continue
        source, target = line.split()
        start = ROOT / source
        files = [start] if start.is_file() else sorted(each for each in start.rglob("*"))
        for each in files:
            if each.is_file() and sent_to_the_builder(each):
                inside = "" if each == start else f"/{each.relative_to(start)}"
                yield each, target + inside


def build_image(folder: Path) -> Image:
    """Install and copy what the Dockerfile does. Needs what `uv run` has fetched before."""
    python = folder / "venv/bin/python"
    uv = uv_program()
    _run(uv, "venv", "--quiet", "--offline", "--python", sys.executable, str(folder / "venv"))
    _run(
        *(uv, "pip", "install", "--quiet", "--offline", "--no-compile", "--python", str(python)),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--requirement", str(DEPLOY / "requirements.txt")),
    )
    _compiled(folder / "venv")
    for source, target in copied():
        place = folder / target.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
    return Image(python=python, app=folder / "app")


def _compiled(venv: Path) -> None:
    """Python's compiled files, as pip makes them in the image; here the same exist already.

    They are made by the content of their sources, so those of another source do not count.
    """
    here = Path(sysconfig.get_path("purelib"))
    there = venv / here.relative_to(sys.prefix)
    for each in here.rglob("__pycache__"):
        target = there / each.relative_to(here)
        if target.parent.is_dir():
            shutil.copytree(each, target, dirs_exist_ok=True)


def uv_program() -> str:
    """uv itself; `uv run` says where it is."""
    return os.environ.get("UV") or program("uv")


def _run(*command: str) -> None:
    environment = {name: each for name, each in os.environ.items() if name != "VIRTUAL_ENV"}
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    if ran.returncode:
        missing(f"the image's packages are not in uv's cache: {ran.stderr[-500:]}")
