"""The rendered file's way: from fal's CDN into the bucket."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """An object that is durable in the bucket. `sha256` is lower-case hex of its bytes."""

    key: str
    size: int
    sha256: str
    reused: bool = False


class Download(Protocol):
    """A rendered file being fetched. `size` in bytes is None when the source does not say."""

    @property
    def size(self) -> int | None: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes, once.

        Ends normally only after a complete MP4 of the announced length. Raises NotAVideo,
        SourceTooLarge or Transient otherwise.
        """
        ...


class VideoSource(Protocol):
    """fal's CDN: hands out rendered files, guarded against every address that is not its own."""

    def fetch(self, url: str) -> AbstractAsyncContextManager[Download]:
        """Open the file at `url`, recognised as an MP4 by its head.

        Raises SourceRefused, SourceGone, SourceTooLarge, NotAVideo and Transient.
        """
        ...

    def shown(self, url: str) -> str | None:
        """The address for a browser, if it is one that `fetch` would open. No network call."""
        ...


class Bucket(Protocol):
    """The object store (R2). Every method raises Transient when the store does not answer."""

    async def put_image(self, key: str, data: bytes, content_type: str) -> None:
        """Store a start image or a thumbnail. A repeat overwrites it with the same bytes."""
        ...

    async def put_video(self, key: str, job_id: str, download: Download) -> StoredObject:
        """Stream a download to `key` in constant memory, write-once.

        A repeat, a racer or a lost answer finds the object that this job wrote and returns it
        with `reused=True`. Raises ObjectConflict when the key holds something else, and what
        `download.chunks()` raises; in those cases no object and no partial upload is left.
        """
        ...

    async def find_video(self, key: str, job_id: str) -> StoredObject | None:
        """The object this job wrote earlier, or None. Raises ObjectConflict."""
        ...

    async def abort_leftovers(self, key: str) -> int:
        """Abort unfinished uploads of `key` left by a dead attempt; how many. Repeats are safe.

        Only for the holder of the job's lease, or once the job has ended: it would end a live
        rival's upload.
        """
        ...

    def read(self, key: str) -> AsyncIterator[bytes]:
        """An object's bytes, once. Raises Transient, also when it is not there."""
        ...

    def library(self) -> AsyncIterator[str]:
        """The keys of all videos and thumbnails, in no order that matters. Raises Transient."""
        ...

    async def unfinished_uploads(self) -> list[str]:
        """The keys of uploads that were begun and neither completed nor aborted."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object. A repeat finds nothing and succeeds."""
        ...

    def url(self, key: str, expires_in_s: int) -> str:
        """An address anyone can GET the object at (with Range) for that long. No network call."""
        ...

    async def check(self) -> None:
        """Return if the bucket exists and may be used. Raises Transient."""
        ...
