"""The control socket: commands while a process owns the database, and when it does not."""

import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.operations.control_path import LONGEST, control_path
from service.settings import Needs, read_settings
from service.web.control import control_socket
from service.wiring import Runtime, open_runtime
from tests.operations.conftest import Command, operate
from tests.world import OWNER, World, environment


def path_of(url: str) -> Path:
    path = control_path(url)
    assert path is not None
    return path


def told(out: str) -> Any:
    return json.loads(out)


async def test_every_door_gives_the_same_json(ops: World, command: Command) -> None:
    await ops.grant(40)
    job_id = await ops.submit()
    await ops.until(job_id, "completed")
    await ops.quiet()
    asked: list[tuple[str, dict[str, Any], list[str]]] = [
        ("jobs.show", {"id": job_id}, ["jobs", "show", job_id]),
        (
            "jobs.list",
            {"email": OWNER, "limit": 2},
            ["jobs", "list", "--email", OWNER, "--limit", "2"],
        ),
        ("inbox.list", {"recent": True, "limit": 5}, ["inbox", "list", "--recent", "--limit", "5"]),
        ("credits.show", {"email": OWNER}, ["credits", "show", OWNER]),
        ("templates.list", {}, ["templates", "list"]),
        ("pauses.list", {}, ["pauses", "list"]),
        ("operations.log", {"limit": 3}, ["operations", "log", "--limit", "3"]),
        ("audit.run", {"objects": True}, ["audit"]),
    ]
    for name, arguments, line in asked:
        ran = await command(*line, "--json")
        assert ran.code == 0, ran
        assert told(ran.out) == await operate(ops, name, **arguments), name


async def test_what_a_command_changes_is_changed_once_and_noted_with_its_door(
    ops: World, command: Command
) -> None:
    grant = ("credits", "grant", "bea@example.com", "7", "--id", "g1", "--json")
    assert [told((await command(*grant)).out)["changed"] for _ in range(2)] == [True, False]
    log = (await operate(ops, "operations.log", limit=2))["actions"]
    assert [(each["door"], each["changed"]) for each in log] == [
        ("socket", False),
        ("socket", True),
    ]
    assert log[0]["arguments"] == {"email": "bea@example.com", "amount": 7, "id": "g1"}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (("jobs", "show", "no-such-job"), "no such job"),
        (("credits", "grant", "bea@example.com", "0"), "amount"),
        (("credits", "grant", "bea@example.com", "8", "--id", "g2"), "g2"),
    ],
)
async def test_a_refusal_by_the_process_is_told_and_exits_with_1(
    ops: World, command: Command, line: tuple[str, ...], word: str
) -> None:
    await operate(ops, "credits.grant", email="bea@example.com", amount=9, id="g2")
    ran = await command(*line)
    assert (ran.code, ran.out) == (1, "")
    assert word in ran.err


async def test_only_its_owner_may_use_the_socket(ops: World, database: str) -> None:
    assert stat.S_IMODE(path_of(database).stat().st_mode) == 0o600


async def test_a_socket_of_another_user_is_not_talked_to(
    ops: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    ran = await command("overview")
    assert (ran.code, "another user" in ran.err) == (1, True)


async def test_a_database_that_only_its_process_sees_is_not_looked_for(command: Command) -> None:
    ran = await command("jobs", "list", url="mem://")
    assert (ran.code, "mem://" in ran.err) == (2, True)


@contextlib.asynccontextmanager
async def listening(ops: World, url: str) -> AsyncIterator[Runtime]:
    """A process's parts on a database of its own, and its control socket if there can be one."""
    settings = read_settings(environment(ops.sandbox, 0, SURREALDB_URL=url), Needs.WEB)
    async with open_runtime(settings) as runtime, control_socket(runtime):
        yield runtime


def leave_a_socket(path: Path) -> None:
    """What a process that was killed leaves behind."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


async def test_what_a_dead_process_left_behind_is_in_nobodys_way(
    ops: World, tmp_path: Path, command: Command
) -> None:
    """Neither of a command that opens the database itself, nor of the next process."""
    url = f"surrealkv://{tmp_path / 'data'}"
    path = path_of(url)
    leave_a_socket(path)
    ran = await command("credits", "grant", OWNER, "5", "--json", url=url)
    assert told(ran.out)["available"] == 5
    async with listening(ops, url):
        ran = await command("operations", "log", "--json", url=url)
        assert [each["door"] for each in told(ran.out)["actions"]] == ["cli"]
    assert not path.exists(), "an orderly end removes it"


async def test_a_long_way_to_the_database_is_no_obstacle(
    ops: World, tmp_path: Path, command: Command
) -> None:
    folder = tmp_path / ("x" * LONGEST)
    folder.mkdir()
    url = f"surrealkv://{folder / 'data'}"
    async with listening(ops, url):
        assert (await command("overview", url=url)).code == 0


async def test_something_else_in_the_sockets_place_is_left_alone_and_the_service_runs(
    ops: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"surrealkv://{tmp_path / 'data'}"
    path_of(url).write_text("somebody's", "utf-8")
    async with listening(ops, url) as runtime:
        assert await runtime.store.pauses() == []
    assert path_of(url).read_text("utf-8") == "somebody's"
    assert any("no control socket" in each.message for each in caplog.records)
