"""Run as a program: images from standard input, checked at once as a web process does it.

Reads pickled images; prints JSON: by how much this process grew at most, and how long it took.
"""

import asyncio
import json
import pickle
import re
import sys
import time
from pathlib import Path

from service.adapters.image import ImageLimits, inspect_image
from service.domain.errors import ServiceError


async def main(images: list[bytes]) -> None:
    limits = ImageLimits(max_bytes=10 * 1024 * 1024)
    await inspect_image(images.pop(0), limits)  # loads what is loaded once
    before, began = peak_bytes(), time.perf_counter()
    found = await asyncio.gather(
        *(inspect_image(each, limits) for each in images), return_exceptions=True
    )
    bad = [repr(each) for each in found if isinstance(each, BaseException)]
    assert all(isinstance(each, ServiceError) for each in found if isinstance(each, BaseException))
    told = {"grown": peak_bytes() - before, "seconds": time.perf_counter() - began, "bad": bad}
    sys.stdout.write(json.dumps(told))


def peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
    assert found
    return int(found[1]) * 1024


if __name__ == "__main__":
    asyncio.run(main(pickle.loads(sys.stdin.buffer.read())))
