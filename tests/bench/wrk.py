"""wrk, as the closed load: so many connections, each with one request at a time."""

import asyncio
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.parts import program

CONNECTIONS: Final = 16
_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_BAD: Final = re.compile(r"(Non-2xx or 3xx responses|Socket errors): (.*)")


class BadLoad(Exception):
    """Not every request was answered as it should have been, so the rate means nothing."""


async def rate(
    url: str,
    seconds: float,
    *,
    connections: int = CONNECTIONS,
    headers: Mapping[str, str] | None = None,
    script: Path | None = None,
) -> float:
    """Answered requests a second, of GETs or what a Lua script makes. Raises BadLoad."""
    command = [program("wrk"), "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s"]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    if script is not None:
        command += ["-s", str(script)]
    process = await asyncio.create_subprocess_exec(*command, url, stdout=asyncio.subprocess.PIPE)
    out = (await process.communicate())[0].decode()
    if bad := _BAD.search(out):
        raise BadLoad(bad[0])
    answered = _RATE.search(out)
    if process.returncode or not answered:
        raise BadLoad(out[-500:])
    return float(answered[1])
