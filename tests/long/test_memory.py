"""How much memory a finalisation takes, whatever the file's size. `pytest -m long -s` prints it."""

import re
from pathlib import Path

import httpx
import pytest

from tests.processes.running import Stand, Web, run, sandbox_process, web_process
from tests.world import OWNER

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

MIB = 1024 * 1024
SETTINGS = {"RECONCILE_INTERVAL_S": "0.5"}


def peak_bytes(pid: int) -> int:
    """The process's highest resident set so far, as the kernel counts it."""
    text = Path(f"/proc/{pid}/status").read_text("utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024


async def finalised(stand: Stand, web: Web, size: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        plan = {"match": None, "faults": f"bytes={size}", "times": 1}
        (await client.post(f"{stand.fal_url}/sandbox/faults", json=plan)).raise_for_status()
    job_id = await web.submit()
    done = await web.until(job_id, "completed", "failed", within_s=300)
    assert done["status"] == "completed"


async def test_a_large_file_takes_hardly_more_memory_than_a_small_one(tmp_path: Path) -> None:
    """A first small job loads code and fills pools; then 5 MB and 500 MB are compared."""
    async with sandbox_process(tmp_path) as stand:
        database = {"SURREALDB_URL": f"surrealkv://{tmp_path / 'data'}"}
        await run({**stand.environment, **database}, "credits", "grant", OWNER, "1000")
        async with web_process(stand, tmp_path, **SETTINGS) as web:
            await finalised(stand, web, 200_000)
            idle = peak_bytes(web.process.pid)
            await finalised(stand, web, 5_000_000)
            small = peak_bytes(web.process.pid)
            await finalised(stand, web, 500_000_000)
            large = peak_bytes(web.process.pid)
    print(  # noqa: T201 - the figure is the point
        f"\npeak resident: before {idle / MIB:.1f} MiB, after 5 MB +{(small - idle) / MIB:.1f},"
        f" after 500 MB +{(large - idle) / MIB:.1f} MiB"
    )
    assert large - idle < 64 * MIB
