"""Opening a database and closing it: directories, short processes, names that others create."""

import asyncio
import sys
from pathlib import Path

import pytest

from service.adapters.migrate import find_migrations, migrate
from service.adapters.surreal import Database, DatabaseSettings
from service.adapters.surreal_connection import _select
from service.adapters.surreal_errors import (
    Unavailable,
)
from tests.store.bench import until

pytestmark = pytest.mark.overlapping  # the wrapper's locks and drivers differ from engine to engine


async def test_a_closed_database_can_be_closed_again(empty: Database) -> None:
    await empty.close()
    await empty.close()


async def test_a_cancelled_opening_does_not_keep_the_directory(folder: Path) -> None:
    settings = DatabaseSettings(url=f"surrealkv://{folder / 'db'}", namespace="n", database="d")
    for steps in (1, 2, 3, 5, 8):
        database = Database(settings)
        opening = asyncio.create_task(database.open())
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await database.close()
    after = Database(settings)
    assert await after.write("RETURN 1") == 1
    await after.close()


HOLD = """
import asyncio, sys
from service.adapters.surreal import Database, DatabaseSettings
async def main():
    database = Database(DatabaseSettings(url=sys.argv[1], namespace="n", database="d"))
    await database.write("CREATE item SET at = time::now()")
    print("held", flush=True)
    sys.stdin.read()
    await database.close()
asyncio.run(main())
"""
AT_ONCE = 10


async def start(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HOLD,
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_directory_that_another_process_holds_is_unavailable_and_says_so(
    folder: Path,
) -> None:
    url = f"surrealkv://{folder / 'db'}"
    holder = await start(url)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    database = Database(DatabaseSettings(url=url, namespace="n", database="d"))
    with pytest.raises(Unavailable, match="locked"):
        await database.open()
    await holder.communicate(b"")
    assert holder.returncode == 0

    async def look() -> int | None:
        try:
            found: int = await database.read("RETURN count(SELECT VALUE id FROM item)")
        except Unavailable:  # it remembers the failure for a moment
            return None
        return found

    assert await until(look) == 1
    await database.close()


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.long)])
async def test_short_processes_that_write_and_close_exit_in_order(folder: Path, count: int) -> None:
    """An engine that is not given its rest aborts its process in up to one of ten exits."""

    async def run(number: int) -> tuple[int | None, bytes, bytes]:
        process = await start(f"surrealkv://{folder / str(number)}")
        out, err = await process.communicate(b"")
        return process.returncode, out, err

    for first in range(0, count, AT_ONCE):
        batch = range(first, min(first + AT_ONCE, count))
        ended = await asyncio.gather(*(run(number) for number in batch))
        assert ended == [(0, b"held\n", b"")] * len(batch)


async def test_what_was_written_is_there_after_closing_and_opening(folder: Path) -> None:
    settings = DatabaseSettings(url=f"surrealkv://{folder / 'db'}", namespace="n", database="d")
    first = Database(settings)
    await migrate(first, find_migrations(), report=lambda _: None)
    await first.write("CREATE item:1 SET n = 3")
    await first.close()
    second = Database(settings)
    assert await second.read("SELECT VALUE n FROM ONLY item:1") == 3
    assert await migrate(second, find_migrations(), report=lambda _: None) == 0
    await second.close()


class _Busy:
    """A connection whose engine is busy creating the database, so many times."""

    def __init__(self, times: int, said: str) -> None:
        self.left, self.said, self.asked = times, said, 0

    async def use(self, *_: str) -> None:
        self.asked += 1
        if self.left > 0:
            self.left -= 1
            raise RuntimeError(self.said)


async def test_a_database_that_others_create_at_this_moment_is_selected_all_the_same() -> None:
    """What RocksDB says, word for word, to the second process that names a new database."""
    settings = DatabaseSettings(url="ws://nobody", namespace="tests", database="new")
    busy = _Busy(3, "Transaction conflict: Resource busy: . This transaction can be retried")
    await _select(busy, settings)
    assert busy.asked == 4

    refused = _Busy(3, "IAM error: Not enough permissions to perform this action")
    with pytest.raises(RuntimeError, match="permissions"):
        await _select(refused, settings)
    assert refused.asked == 1
