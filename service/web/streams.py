"""How many may wait at a time, in all and for each owner, and what they wait on."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.domain.errors import TooManyStreams
from service.web.watching import Watcher

MAX_PER_OWNER: Final = 20  # a browser has 6 connections to a host, over HTTP/2 some more
MAX_IN_ALL: Final = 4_000  # of the server's 5,000 connections: the rest is for everything else


class Streams:
    """The requests of this process that are held open until their job changes."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    def enter(self, owner: str) -> None:
        """Count one in; whoever does counts it out again. Raises TooManyStreams."""
        if self._open[owner] >= MAX_PER_OWNER:
            raise TooManyStreams("too many of your tabs are watching videos; close some")
        if len(self) >= MAX_IN_ALL:
            raise TooManyStreams("too many videos are being watched; read the status instead")
        self._open[owner] += 1

    def leave(self, owner: str) -> None:
        self._open[owner] -= 1
        if not self._open[owner]:
            del self._open[owner]

    @contextmanager
    def waiting(self, owner: str) -> Iterator[None]:
        """Counted in while the body runs. Raises TooManyStreams."""
        self.enter(owner)
        try:
            yield
        finally:
            self.leave(owner)
