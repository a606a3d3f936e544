"""The units, judged by systemd itself where it is installed."""

import sys
from pathlib import Path

import pytest

from tests.deploy.files import UNITS, unit
from tests.deploy.tools import run_tool

OPEN_TO_ATTACK = 15  # of 100, by systemd's own count; an ordinary service has 96
PLACES = {
    "/opt/fal-video/venv/bin/python": sys.executable,
    "/usr/local/bin/surreal": "/bin/true",
    "WorkingDirectory=/opt/fal-video": "WorkingDirectory=/",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The units as on a machine where the programs are elsewhere, a template's as an instance."""
    folder = tmp_path_factory.mktemp("units")
    found = []
    for each in UNITS:
        text = each.read_text("utf-8")
        for place, here in PLACES.items():
            text = text.replace(place, here)
        found.append(folder / each.name.replace("@.", "@8000."))
        found[-1].write_text(text, "utf-8")
    return found


def test_systemd_understands_every_line(installed: list[Path]) -> None:
    folder = installed[0].parent
    path = {"SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_LEVEL": "warning"}
    said = run_tool("systemd-analyze", "verify", "--man=no", *installed, environment=path)
    assert [line for line in said.splitlines() if str(folder) in line] == []


def test_nothing_is_left_open_that_the_service_can_do_without(installed: list[Path]) -> None:
    threshold = f"--threshold={OPEN_TO_ATTACK}"
    for each in installed:
        run_tool("systemd-analyze", "security", "--offline=true", "--no-pager", threshold, each)


def test_each_starts_after_what_it_needs() -> None:
    for name in ("fal-video-web@.service", "fal-video-reconciler.service"):
        assert "fal-video-migrate.service" in unit(name)["After"][0], name
        assert unit(name)["Wants"][-1] == "fal-video-migrate.service", name
        assert unit(name)["Restart"] == ["always"], name
    migrate = unit("fal-video-migrate.service")
    assert "surrealdb.service" in migrate["After"][0]
    assert "RemainAfterExit" not in migrate, "each start is to migrate"


def test_the_owner_of_the_database_is_known_to_it_and_to_migrate_alone() -> None:
    files = {each.name: unit(each.name)["EnvironmentFile"] for each in UNITS}
    knowing = {name for name, each in files.items() if "/etc/fal-video/database.env" in each}
    assert knowing == {"surrealdb.service", "fal-video-migrate.service"}


def test_every_process_is_bounded() -> None:
    for each in UNITS:
        assert {"MemoryMax", "TasksMax", "NoNewPrivileges", "DynamicUser"} <= set(unit(each.name))


def test_the_thumbnails_process_may_lower_its_own_limits() -> None:
    """It sets rlimits and its niceness first thing; refused, there would be no thumbnail."""
    for name in ("fal-video-web@.service", "fal-video-reconciler.service"):
        filters = unit(name)["SystemCallFilter"]
        assert not any("@resources" in each for each in filters if each.startswith("~"))
