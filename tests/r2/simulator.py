"""Cloudflare's own R2 simulator: as strict about signatures, hashes and parts as R2 is.

It is a Node.js program. Where npm cannot install it, the tests that need it are skipped.
"""

import json
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from service.adapters.object_store import BucketSettings
from tests.parts import missing, npm_packages

FOLDER: Final = Path(__file__).parent
BUCKET: Final = "transfers"  # given at the start: the simulator creates none while it runs
ACCESS_KEY_ID: Final = "simulator-access-key"
SECRET_ACCESS_KEY: Final = "simulator-secret-key"
STOP_S: Final = 20
# What the simulator calls an upload that is neither completed nor aborted.
IN_PROGRESS: Final = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulator:
    """A running simulator. What S3 has no way to ask for is read from its folder."""

    url: str
    folder: Path

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def path(self) -> str:
        """Where S3 begins: the simulator serves more than that."""
        return urlsplit(self.url).path

    def settings(self, url: str | None = None) -> BucketSettings:
        """How to open the bucket, at `url` if something stands in front of the simulator."""
        return BucketSettings(
            endpoint_url=url or self.url,
            bucket=BUCKET,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET_ACCESS_KEY,
        )

    def environment(self, url: str | None = None) -> dict[str, str]:
        """The same, as the service's settings."""
        settings = self.settings(url)
        return {
            "R2_ENDPOINT_URL": settings.endpoint_url,
            "R2_BUCKET": settings.bucket,
            "R2_ACCESS_KEY_ID": settings.access_key_id,
            "R2_SECRET_ACCESS_KEY": settings.secret_access_key,
        }

    def stored(self, key: str) -> bytes | None:
        """An object's bytes, as they lie on the disk."""
        found = self._read("SELECT blob_id FROM _mf_objects WHERE key = ?", key)
        if not found:
            return None
        parts = found
        if found[0][0] is None:  # a multipart object has no blob of its own
            parts = self._read(
                "SELECT blob_id FROM _mf_multipart_parts WHERE object_key = ? ORDER BY part_number",
                key,
            )
        return b"".join((self.folder / BUCKET / "blobs" / blob).read_bytes() for (blob,) in parts)

    def metadata(self, key: str) -> dict[str, str]:
        (found,) = self._read("SELECT custom_metadata FROM _mf_objects WHERE key = ?", key)
        metadata: dict[str, str] = json.loads(found[0])
        return metadata

    def all_keys(self) -> list[str]:
        return [key for (key,) in self._read("SELECT key FROM _mf_objects")]

    def unfinished(self) -> list[tuple[str, str]]:
        """Key and id of each upload that was neither completed nor aborted."""
        query = "SELECT key, upload_id FROM _mf_multipart_uploads WHERE state = ?"
        return self._read(query, IN_PROGRESS)

    def uploads_of(self, key: str) -> list[str]:
        """The unfinished uploads of one key: other tests may have left theirs."""
        return [upload_id for name, upload_id in self.unfinished() if name == key]

    def loose_parts(self) -> int:
        """Stored parts that no object is made of."""
        query = "SELECT count(*) FROM _mf_multipart_parts WHERE object_key IS NULL"
        return sum(count for (count,) in self._read(query))

    def _read(self, query: str, *values: object) -> list[Any]:
        """Rows of the bucket's index, which is made with the first request to it."""
        index = self.folder / "miniflare-R2BucketObject"
        files = [file for file in index.glob("*.sqlite") if file.stem != "metadata"]
        if not files:
            return []
        with closing(sqlite3.connect(f"file:{files[0]}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()


@contextmanager
def running(folder: Path) -> Iterator[Simulator]:
    """Run the simulator over an empty folder; it ends with the block, or with this process."""
    modules = npm_packages(FOLDER)
    node = next(modules.glob("node-*/bin/node"), None) or missing("no Node.js for this machine")
    command = [
        str(node),
        str(FOLDER / "r2.mjs"),
        str(folder),
        ACCESS_KEY_ID,
        SECRET_ACCESS_KEY,
        BUCKET,
    ]
    said = folder / "said.log"
    with (
        said.open("w") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, said.read_text("utf-8")
        try:
            yield Simulator(url=url, folder=folder)
        finally:
            try:
                process.communicate(timeout=STOP_S)  # closes its input, which ends it
            finally:
                process.kill()


_STARTED: Final = pytest.StashKey[Simulator]()


@pytest.fixture(scope="session")
def simulator(pytestconfig: pytest.Config) -> Simulator:
    """One for all tests of this process that want it, whichever directory they are in."""
    if _STARTED not in pytestconfig.stash:
        folder = tempfile.TemporaryDirectory(prefix="r2-", ignore_cleanup_errors=True)
        pytestconfig.add_cleanup(folder.cleanup)
        block = ExitStack()
        pytestconfig.add_cleanup(block.close)
        pytestconfig.stash[_STARTED] = block.enter_context(running(Path(folder.name)))
    return pytestconfig.stash[_STARTED]
