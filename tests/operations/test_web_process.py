"""`fal-video web` itself on an embedded database, and the commands of those who come beside it."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from service.commands.children import child
from service.commands.local import free_port
from tests.operations.conftest import Command
from tests.operations.test_socket_door import path_of
from tests.world import OWNER, World, environment


async def process(given: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", *arguments),
        env={"PATH": os.environ["PATH"], **given},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await running.communicate()
    assert running.returncode is not None
    return running.returncode, out.decode(), err.decode()


@pytest.mark.thorough
async def test_commands_work_beside_a_running_web_process_and_after_its_death(
    ops: World, tmp_path: Path, command: Command
) -> None:
    """A second one for the same database is refused and takes nothing from the first."""
    url = f"surrealkv://{tmp_path / 'data'}"
    path = path_of(url)
    settings = {**environment(ops.sandbox, free_port()), "SURREALDB_URL": url}
    async with child(["web"], settings, tmp_path / "web.log", until="listening") as web:
        grant = ("credits", "grant", OWNER, "7", "--id", "once", "--json")
        code, out, err = await process({"SURREALDB_URL": url}, *grant)
        assert (code, json.loads(out)["changed"]) == (0, True), err

        code, out, err = await process({**settings, "PORT": "0"}, "web")
        assert (code, out, "open in another process" in err) == (1, "", True), err
        assert json.loads((await command(*grant, url=url)).out)["changed"] is False

        hidden = path.rename(path.with_name("hidden"))
        refused = await command("overview", url=url)
        assert (refused.code, "no control socket" in refused.err) == (1, True)
        hidden.rename(path)

        web.process.kill()
        await web.process.wait()
        assert path.is_socket(), "nobody was left to remove it"
        log = await command("operations", "log", "--json", url=url)
        doors = [each["door"] for each in json.loads(log.out)["actions"]]
        assert doors == ["socket", "socket"]
