"""A real SurrealDB 3 on RocksDB: a `surreal` on PATH, else npm's engine behind host.mjs."""

import asyncio
import atexit
import contextlib
import functools
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from nacl.pwhash import argon2id

from service.adapters.surreal import DatabaseSettings
from service.commands.local import free_port
from tests.parts import npm_packages, program

HOST: Final = "127.0.0.1"
NAMESPACE: Final = "tests"
USER: Final = "root"  # and the password
START_S: Final = 30.0  # half a second on an idle machine
STOP_S: Final = 10.0
LOOK_S: Final = 0.01

_HERE: Final = Path(__file__).parent


class Engine:
    """One server process on one folder; it can be killed, stopped and started again.

    `synced`: a commit is answered once the disk has it, as in production. What is not about
    durability runs without, which is what a disk is slow at.
    """

    def __init__(self, folder: Path, *, port: int = 0, synced: bool = True) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._path = f"rocksdb://{folder / 'data'}?sync={'every' if synced else 'never'}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}"

    def settings(
        self, database: str | None = None, *, user: str | None = USER, password: str | None = None
    ) -> DatabaseSettings:
        """The way to a database here; to a new one where none is named.

        A user's password is the user's name, unless another is given.
        """
        return DatabaseSettings(
            url=self.url,
            namespace=NAMESPACE,
            database=database or secrets.token_hex(8),
            username=user,
            password=password or user,
        )

    def environment(self, database: str) -> dict[str, str]:
        """The same for a child process."""
        return {
            "SURREALDB_URL": self.url,
            "SURREALDB_NAMESPACE": NAMESPACE,
            "SURREALDB_DATABASE": database,
            "SURREALDB_USERNAME": USER,
            "SURREALDB_PASSWORD": USER,
        }

    async def start(self) -> None:
        """Return once it serves; on the same port and folder however often it was ended."""
        await asyncio.to_thread(self.start_now)

    async def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is said to anybody."""
        await asyncio.to_thread(self.end_now, kill=True)

    async def stop(self) -> int:
        """SIGTERM; its exit code. Does nothing when it has ended."""
        return await asyncio.to_thread(self.end_now)

    async def export(self, database: str, file: Path) -> None:
        """Write all of a database to a file, as `surreal export` does."""
        await self._dump("export", database, file)

    async def load(self, database: str, file: Path) -> None:
        """Fill a new database from such a file, as `surreal import` does."""
        await self._dump("import", database, file)

    async def _dump(self, what: str, database: str, file: Path) -> None:
        """By the server's own command, or else while nothing runs on the folder."""
        if surreal := shutil.which("surreal"):
            way = ["--endpoint", f"http://{HOST}:{self.port}", "--user", USER, "--pass", USER]
            where = ["--namespace", NAMESPACE, "--database", database, str(file)]
            await _run([surreal, what, *way, *where])
            return
        await self.stop()
        url = self._path.partition("?")[0]
        script = str(_HERE / "dump.mjs")
        await _run([program("node"), script, what, url, NAMESPACE, database, str(file)])
        await self.start()

    def start_now(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "engine.log"
        with log.open("wb") as out:
            # A pipe for its input: when the tests die, however they do, its other end closes.
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT
            )
        give_up_at = time.monotonic() + START_S
        while f"{HOST}:{self.port}" not in (said := log.read_text("utf-8", "replace")):
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                self.end_now(kill=True)
                raise RuntimeError(f"the database did not start: {said}")
            time.sleep(LOOK_S)

    def end_now(self, *, kill: bool = False) -> int:
        process = self._process
        if process is None:
            return 0
        if kill:
            process.kill()
        else:
            process.terminate()
        code = process.wait(STOP_S)
        if process.stdin is not None:
            process.stdin.close()
        self._process = None
        return code

    def _command(self) -> list[str]:
        port = str(self.port)
        if surreal := shutil.which("surreal"):
            bind = ["--bind", f"{HOST}:{port}"]
            return [surreal, "start", *bind, "--user", USER, "--pass", USER, self._path]
        npm_packages(_HERE)
        host, user = str(_HERE / "host.mjs"), ["--user", USER, "--passhash", _cheap_hash()]
        return [program("node"), host, "--port", port, "--path", self._path, *user]


async def _run(command: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[1]} failed: {said.decode()}")


@functools.cache
def _cheap_hash() -> str:
    """The password, hashed with the least that Argon2 can be: each connection pays for it."""
    cheap = argon2id.str(USER.encode(), argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
    return cheap.decode().rstrip("\0")


@contextlib.asynccontextmanager
async def running_engine(
    folder: Path, *, port: int = 0, synced: bool = True
) -> AsyncIterator[Engine]:
    """An engine of one's own. The test is skipped on a machine that has none."""
    engine = Engine(folder, port=port, synced=synced)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.kill()


@functools.cache
def shared_engine() -> Engine:
    """One engine per test process, in memory, until the process ends. For databases by name."""
    memory = Path("/dev/shm")
    folder = TemporaryDirectory(dir=memory if memory.is_dir() else None)
    engine = Engine(Path(folder.name), synced=False)
    engine.start_now()
    atexit.register(folder.cleanup)
    atexit.register(engine.end_now, kill=True)
    return engine
