"""Runs this program's other commands as child processes, and ends them."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.domain.errors import ServiceError

START_S: Final = 60.0  # importing everything on a cold, busy machine takes a few seconds
STOP_S: Final = 40.0  # a web process drains for up to 30 s


class ChildFailed(ServiceError):
    """A child process ended before it was ready; the message says what it wrote last."""

    code = "child_failed"


@dataclass(frozen=True, slots=True)
class Child:
    """A running child: the lines it printed until it was ready, and its process."""

    lines: list[str]
    process: asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def child(
    arguments: list[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    until: str,
    cwd: Path | None = None,
) -> AsyncIterator[Child]:
    """Run `fal-video ARGUMENTS`; yields it once it has printed a line that starts with `until`.

    On leaving, the child is asked to stop (SIGTERM) and waited for; one that does not is killed.
    Its standard error goes to `log`. Raises ChildFailed.
    """
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "service",
            *arguments,
            env=dict(environment),
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        yield Child(await _ready(process, until, log), process)
    finally:
        await _stop(process)


async def _ready(process: asyncio.subprocess.Process, until: str, log: Path) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(START_S):
        while not lines or not lines[-1].startswith(until):
            line = await process.stdout.readline()
            if not line:
                last = await asyncio.to_thread(log.read_text, "utf-8", "replace")
                raise ChildFailed("a part did not start:\n" + "\n".join([*lines, last[-2000:]]))
            lines.append(line.decode().rstrip("\n"))
    return lines


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
