"""Where the process that owns an embedded database listens for operators' commands."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ON_DISK: Final = "surrealkv://"
LONGEST: Final = 100  # bytes of a socket's address; the system's own limit is a little above


def control_path(database_url: str) -> Path | None:
    """The socket beside an embedded database's directory; none for any other database."""
    if not database_url.startswith(ON_DISK):
        return None
    directory = Path(database_url.removeprefix(ON_DISK).partition("?")[0]).absolute()
    return directory.with_name(f"{directory.name}.control")


@contextlib.contextmanager
def short_address(path: Path) -> Iterator[str]:
    """The path as an address that fits into a socket's, while the body runs. Raises OSError."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
