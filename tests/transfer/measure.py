"""Run as a program: one transfer in a process of its own, and by how much the process grew.

Arguments: the source's address, the store's endpoint, its bucket. Prints JSON.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from service.adapters.object_store import BucketSettings, open_bucket
from service.adapters.outbound import DownloadLimits, OutboundPolicy, guarded_client
from service.adapters.video_source import HttpVideoSource


async def main(source_url: str, endpoint_url: str, bucket_name: str) -> None:
    policy = OutboundPolicy(allowed_hosts=(), development=True)
    limits = DownloadLimits()
    settings = BucketSettings(
        endpoint_url=endpoint_url, bucket=bucket_name, access_key_id="AK", secret_access_key="SK"
    )
    async with guarded_client(policy, limits) as client, open_bucket(settings) as bucket:
        await bucket.check()
        await bucket.put_image("warm-up.png", b"png", "image/png")
        before, started = _peak_kib(), time.monotonic()
        async with HttpVideoSource(client, policy, limits).fetch(source_url) as download:
            stored = await bucket.put_video(f"{download.size}/library/j.mp4", "j", download)
        growth = {"growth_kib": _peak_kib() - before, "seconds": time.monotonic() - started}
    sys.stdout.write(json.dumps({"size": stored.size, "sha256": stored.sha256, **growth}))


def _peak_kib() -> int:
    """From /proc: getrusage's peak begins at that of the process which started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
