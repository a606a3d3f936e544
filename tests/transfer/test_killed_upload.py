"""A process that dies in the middle of an upload, and the one that takes its job over."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from service.adapters.object_store import R2Bucket
from tests.transfer.samples import MIB, Bytes, mp4, whole
from tests.transfer.servers import Fault, FaultCdn
from tests.transfer.stores import Store
from tests.world import eventually

BODY = mp4(17 * MIB)  # over what goes as one request: three parts with the limits of production
KEY = f"{len(BODY)}/library/j.mp4"  # as the program names it


@contextlib.asynccontextmanager
async def uploading(
    source_url: str, endpoint_url: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """One transfer in a process of its own, which is dead when the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.transfer.measure", source_url, endpoint_url, "transfers"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_an_upload_whose_process_was_killed_is_cleaned_up_by_the_next_attempt(
    bucket: R2Bucket, store: Store, cdn: FaultCdn, large: bytes
) -> None:
    """F55: SIGKILL at a part; the heir aborts what lies there, and the list shows none."""
    store.proxy.faults.append(Fault("partNumber=3", "silent"))

    async def two_parts_are_there() -> bool | None:
        return store.proxy.sent("partNumber=3") > 0 or None

    async with uploading(cdn.url(whole(BODY)), store.settings.endpoint_url) as process:
        await eventually(two_parts_are_there)
        process.kill()
    assert store.unfinished == 1

    assert await bucket.abort_leftovers(KEY) == 1

    assert store.unfinished == 0
    assert await bucket.abort_leftovers(KEY) == 0
    stored = await bucket.put_video(KEY, "j", Bytes(large))
    assert (stored.reused, store.object(KEY)) == (False, large)
