"""Run as a program: the service's transfers, wired as for its worker, in a process of their own.

Arguments: the store's endpoint, its bucket, and the authority to trust where both ends are TLS.
Each line of standard input is a JSON list of [address, key]: all of these at once. Each line of
standard output says what that took.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from service.adapters.object_store import BucketSettings, open_bucket
from service.adapters.outbound import (
    DownloadLimits,
    OutboundPolicy,
    guarded_client,
    tls_context,
)
from service.adapters.video_source import HttpVideoSource
from service.ports import Bucket, VideoSource


async def main(endpoint_url: str, bucket_name: str, authority: str | None = None) -> None:
    if authority is not None:
        tls_context().load_verify_locations(authority)
        os.environ["AWS_CA_BUNDLE"] = authority
    async with _wired(endpoint_url, bucket_name) as (source, bucket):
        await bucket.check()
        while line := await asyncio.to_thread(sys.stdin.readline):
            taken = await _all_at_once(source, bucket, json.loads(line))
            sys.stdout.write(json.dumps(taken) + "\n")
            sys.stdout.flush()


@contextlib.asynccontextmanager
async def _wired(endpoint_url: str, bucket_name: str) -> AsyncIterator[tuple[VideoSource, Bucket]]:
    policy = OutboundPolicy(allowed_hosts=(), development=True)
    limits = DownloadLimits()
    settings = BucketSettings(
        endpoint_url=endpoint_url, bucket=bucket_name, access_key_id="AK", secret_access_key="SK"
    )
    async with guarded_client(policy, limits) as client, open_bucket(settings) as bucket:
        yield HttpVideoSource(client, policy, limits), bucket


async def _all_at_once(
    source: VideoSource, bucket: Bucket, copies: list[tuple[str, str]]
) -> dict[str, float]:
    _forget_peak()
    before, processor, started = _kib("VmRSS"), time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as together:
        for url, key in copies:
            together.create_task(_copy(source, bucket, url, key))
    return {
        "seconds": time.monotonic() - started,
        "processor_s": time.process_time() - processor,
        "growth_kib": _kib("VmHWM") - before,
    }


async def _copy(source: VideoSource, bucket: Bucket, url: str, key: str) -> None:
    """As the finalisation does it."""
    async with source.fetch(url) as download:
        await bucket.put_video(key, "bench", download)


def _forget_peak() -> None:
    """The kernel begins the peak anew, at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def _kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
