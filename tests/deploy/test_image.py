"""The Dockerfile, and what it installs."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from tests.deploy.files import DEPLOY, ROOT, image_environment, instructions, requirements
from tests.deploy.image import copied, sent_to_the_builder, uv_program

EXTRA = "tracing"  # so that OTEL_EXPORTER_OTLP_ENDPOINT does something there


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    ran = subprocess.run(
        [hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_nothing_in_the_image_needs_a_shell_or_root() -> None:
    user = instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, which an orchestrator can check"
    for name in ("RUN", "CMD", "ENTRYPOINT"):
        assert all(json.loads(each) for each in instructions(name)), name
    (check,) = instructions("HEALTHCHECK")
    words = json.loads(check.split("CMD ")[1])
    assert words[0] == "python"
    compile(words[2], "HEALTHCHECK", "exec")
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert image_environment()["PYTHONDONTWRITEBYTECODE"] == "1", "its root is read-only"


def test_the_image_has_all_of_the_service_and_nothing_else() -> None:
    there = {source for source, _ in copied()}
    service = {
        each
        for folder in ("service", "migrations")
        for each in (ROOT / folder).rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }
    assert there == service | {DEPLOY / "requirements.txt"}
    for secret in (".env", "deploy/service.env", ".git/config", "tests/world.py"):
        assert not sent_to_the_builder(ROOT / secret), secret


def test_every_package_is_pinned_by_the_project_and_by_hashes() -> None:
    pins = _pins()
    installed = requirements()
    assert {name: each for name, each in installed.items() if pins.get(name) != each} == {}
    text = (DEPLOY / "requirements.txt").read_text("utf-8")
    for block in re.split(r"\n(?=\w)", text)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert "://" not in text, "which index is used is for whoever builds the image to say"


def test_the_requirements_are_those_that_uv_exports_now() -> None:
    options = f"--no-dev --no-emit-project --extra {EXTRA} --no-header --no-annotate"
    ran = subprocess.run(
        [uv_program(), "export", "--quiet", "--offline", "--frozen", *options.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = re.findall(r"^(\S+==[^\\]*?) *\\?$", ran.stdout, re.MULTILINE)
    text = (DEPLOY / "requirements.txt").read_text("utf-8")
    assert re.findall(r"^(\S+==[^\\]*?) *\\?$", text, re.MULTILINE) == wanted


def _pins() -> dict[str, str]:
    """What pyproject.toml says of a package's version: as a dependency, or of what those bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    described: dict[str, Any] = project["project"]
    lines = [
        *described["dependencies"],
        *described["optional-dependencies"][EXTRA],
        *project["tool"]["uv"]["constraint-dependencies"],
    ]
    pairs = (line.split("==") for line in lines)
    return {name.split("[")[0].lower(): version for name, version in pairs}
