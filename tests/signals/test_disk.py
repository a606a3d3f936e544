"""Disks that are full, and records torn by a power cut, under the embedded engine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.adapters.store import SurrealStore
from service.adapters.surreal import Database, DatabaseSettings
from service.domain.inbox import Delivery
from service.wiring import prepare
from tests.parts import missing, program

ROOT = Path(__file__).parents[2]
DISK = "12m"
# A mount that only this process and its children see; no privilege is needed for it.
OWN_MOUNTS = ("--user", "--map-root-user", "--mount")
MOUNTED = f'mount -t tmpfs -o size={DISK} none "$0" && exec "$@"'


@pytest.mark.thorough
def test_a_full_disk_is_503_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """F85: deliveries are refused with 503 and counted; with room again all go on.

    What was acknowledged before and after is there when the engine is next opened; of what was
    refused there is nothing.
    """
    unshare = program("unshare")
    own = [unshare, *OWN_MOUNTS, "sh", "-c", MOUNTED, str(tmp_path)]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        missing("this machine lets nobody mount a small disk of their own")
    command = [*own, sys.executable, "-m", "tests.signals.full_disk", str(tmp_path)]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    said = json.loads(ran.stdout.splitlines()[-1])
    assert said["acked"] > 3
    assert (said["refused"], said["order"]) == ([503], 503)
    assert said["up"] == 0
    assert said["failed"] >= 4
    assert said["after"] == [200] * 3
    assert (said["lost"], said["halves"], said["audit"]) == ([], [], [])


async def test_a_torn_last_record_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """F86: cut anywhere in the record that was being written, the database opens with the rest."""
    folder = tmp_path / "data"
    acked: list[str] = []
    sizes: list[int] = []
    database = opened_at(folder)
    await database.open()
    store = SurrealStore(database)
    await prepare(store, lambda _: None)
    for each in range(4):
        delivery = a_delivery(f"r-{each}")
        assert await store.record_delivery(delivery, grace_s=60)
        acked.append(delivery.entry_id)
        sizes.append(log_of(folder).stat().st_size)
    begins, ends = sizes[-2:]
    assert ends - begins > len(a_delivery("r-3").body), "the last record is the last in the log"
    cuts = [begins, begins + 1, begins + 7, (begins + ends) // 2, ends - 1]
    copies = [Path(shutil.copytree(folder, tmp_path / f"cut-{cut}")) for cut in cuts]
    await database.close()

    for cut, copy in zip(cuts, copies, strict=True):
        (copy / "LOCK").unlink()
        os.truncate(log_of(copy), cut)
        again = opened_at(copy)
        await again.open()
        there = set(await again.read("SELECT VALUE record::id(id) FROM inbox"))
        assert there == set(acked[:-1]), f"cut at {cut} of {begins} to {ends}"
        late = a_delivery("r-3")
        assert await SurrealStore(again).record_delivery(late, grace_s=60), "fal sends it again"
        await again.close()
        await again.open()
        there = set(await again.read("SELECT VALUE record::id(id) FROM inbox"))
        assert there == set(acked), "what is written behind a mended record stays"
        await again.close()


def opened_at(folder: Path) -> Database:
    url = f"surrealkv://{folder}"
    return Database(DatabaseSettings(url=url, namespace="n", database="d"))


def a_delivery(request_id: str) -> Delivery:
    return Delivery(
        job_id="v1",
        attempt=1,
        request_id=request_id,
        user_id="u",
        body=request_id.encode() * 5_000,
        stale=False,
    )


def log_of(folder: Path) -> Path:
    return max((folder / "wal").iterdir())
