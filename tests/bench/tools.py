"""Ways of copying a video from an address to a bucket: the service's own, and two at hand.

The service's process is there before the work, as its worker is. A tool is started for each
video, as it would be by whoever calls it; that is part of what it costs.
"""

import asyncio
import contextlib
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.videos import BUCKET, MB, ROOT, BadTransfer, Road, Roads

KEYS: Final = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"}
LOOK_S: Final = 0.01
MIB: Final = 1024.0  # in KiB
# R2 takes no checksum trailers; newer versions of aws send them unless told so. Older ones do
# neither. The rest is what Cloudflare's pages tell to set.
AWS: Final = {
    **KEYS,
    "AWS_DEFAULT_REGION": "auto",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
RCLONE: Final = {
    "RCLONE_CONFIG_R2_TYPE": "s3",
    "RCLONE_CONFIG_R2_PROVIDER": "Cloudflare",
    "RCLONE_CONFIG_R2_ENV_AUTH": "false",
    "RCLONE_CONFIG_R2_ACCESS_KEY_ID": "AK",
    "RCLONE_CONFIG_R2_SECRET_ACCESS_KEY": "SK",
    "RCLONE_CONFIG_R2_REGION": "auto",
    "RCLONE_CONFIG_R2_ACL": "private",
}

Pipeline = list[list[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """By all copies together; `peak_kib` is growth for the service, everything for a tool."""

    seconds: float
    processor_s: float
    peak_kib: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tool:
    """Programs that together copy one video: each reads what the one before it writes."""

    name: str
    version: tuple[str, ...]
    settings: dict[str, str]
    pipeline: Callable[[Road, str, str], Pipeline]

    async def copy(
        self, roads: Roads, road: Road, size: int, count: int = 1, *, peak: bool = False
    ) -> Used:
        """Copy the video `count` times at once. Raises BadTransfer, in a group or alone."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(roads.folder), **self.settings}
        async with roads.expecting(size, count) as keys:
            processor, started = _of_children(), time.monotonic()
            async with asyncio.TaskGroup() as together:
                running = [
                    together.create_task(
                        _run(self.pipeline(road, road.url(size), key), environment, peak=peak)
                    )
                    for key in keys
                ]
            seconds = time.monotonic() - started
        return Used(
            seconds=seconds,
            processor_s=_of_children() - processor,
            peak_kib=sum(each.result() for each in running),
        )

    async def told_version(self) -> str:
        """In its own words."""
        process = await asyncio.create_subprocess_exec(
            *self.version, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        return (await process.communicate())[0].decode().split("\n")[0]


def _curl_and_aws(road: Road, url: str, key: str) -> Pipeline:
    target = f"s3://{BUCKET}/{key}"
    source = ["curl", "-s", *_trust("--cacert", road), url]
    trust = _trust("--ca-bundle", road)
    return [source, ["aws", "s3", "cp", "-", target, "--endpoint-url", road.endpoint, *trust]]


def _rclone(road: Road, url: str, key: str) -> Pipeline:
    trust = _trust("--ca-cert", road)
    target = f"r2:{BUCKET}/{key}"
    return [["rclone", "copyurl", "--s3-endpoint", road.endpoint, *trust, url, target]]


def _trust(option: str, road: Road) -> list[str]:
    return [] if road.authority is None else [option, str(road.authority)]


CURL_AND_AWS: Final = Tool(
    name="curl | aws s3 cp", version=("aws", "--version"), settings=AWS, pipeline=_curl_and_aws
)
RCLONE_COPYURL: Final = Tool(
    name="rclone copyurl", version=("rclone", "version"), settings=RCLONE, pipeline=_rclone
)


def present(*tools: Tool) -> tuple[list[Tool], str]:
    """Those whose programs are on PATH, and a sentence on those that are not."""
    found = [tool for tool in tools if shutil.which(tool.version[0]) and shutil.which("curl")]
    absent = ", ".join(tool.name for tool in tools if tool not in found)
    return found, f"not installed here, so left out: {absent}" if absent else ""


def rate(used: Used, size: int, count: int) -> float:
    """MB/s."""
    return size * count / MB / used.seconds


async def _run(pipeline: Pipeline, environment: dict[str, str], *, peak: bool) -> int:
    """The sum of the processes' peaks in KiB, if that is asked for. Raises BadTransfer."""
    running = await _start(pipeline, environment)
    looking = asyncio.create_task(_peaks(running)) if peak else None
    try:
        for process in running:
            said = (await process.communicate())[1] or b""
            if process.returncode:
                raise BadTransfer(f"{pipeline[-1][0]}: {said.decode(errors='replace')[-500:]}")
    finally:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    return 0 if looking is None else sum((await looking).values())


async def _start(
    pipeline: Pipeline, environment: dict[str, str]
) -> list[asyncio.subprocess.Process]:
    running = []
    source = os.open(os.devnull, os.O_RDONLY)
    for command in pipeline:
        last = command is pipeline[-1]
        following, sink = (-1, os.open(os.devnull, os.O_WRONLY)) if last else os.pipe()
        running.append(
            await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                stdin=source,
                stdout=sink,
                stderr=asyncio.subprocess.PIPE if last else asyncio.subprocess.DEVNULL,
            )
        )
        os.close(source)
        os.close(sink)
        source = following
    return running


async def _peaks(running: Sequence[asyncio.subprocess.Process]) -> dict[int, int]:
    """Each one's peak as it was last seen: it only grows, and ends with the process."""
    found: dict[int, int] = {}
    while any(process.returncode is None for process in running):
        for process in running:
            with contextlib.suppress(OSError, StopIteration):
                found[process.pid] = _peak_kib(process.pid)
        await asyncio.sleep(LOOK_S)
    return found


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _of_children() -> float:
    """Processor seconds of children that have ended: the servers have not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class Ours:
    """The service's transfers, in a process that stays."""

    process: asyncio.subprocess.Process

    async def copy(self, roads: Roads, road: Road, size: int, count: int = 1) -> Used:
        """Copy the video `count` times at once. Raises BadTransfer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        async with roads.expecting(size, count) as keys:
            asked = json.dumps([(road.url(size), key) for key in keys])
            started = time.monotonic()
            self.process.stdin.write(asked.encode() + b"\n")
            line = await self.process.stdout.readline()
            seconds = time.monotonic() - started
            if not line:
                raise BadTransfer("the service's own transfer ended")
        told = json.loads(line)
        return Used(seconds=seconds, processor_s=told["processor_s"], peak_kib=told["growth_kib"])


@contextlib.asynccontextmanager
async def ours(road: Road) -> AsyncIterator[Ours]:
    trust = _trust("--", road)[1:]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.copier", road.endpoint, BUCKET, *trust),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Ours(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
