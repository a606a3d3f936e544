"""The stand-in for R2: moto's S3, in a thread of this process or as a process of its own.

It keeps objects in memory and checks no signatures: a wrong secret or an expired presigned URL
works here and fails in production.
"""

import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx

from service.sandbox.extras import load
from service.sandbox.settings import LOOPBACK

_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running object store."""

    url: str

    def create_bucket(self, name: str) -> None:
        """Create it. A repeat finds its own bucket and succeeds."""
        with _client() as client:
            answer = client.put(f"{self.url}/{name}")
        if answer.status_code not in {HTTPStatus.OK, HTTPStatus.CONFLICT}:
            raise RuntimeError(f"bucket {name} was not created: {answer.text}")

    def reset(self) -> None:
        """Drop every bucket and object."""
        with _client() as client:
            client.post(f"{self.url}/moto-api/reset").raise_for_status()


@contextmanager
def object_store(port: int = 0, *, process: bool = False) -> Iterator[ObjectStore]:
    """Run an object store on loopback. Raises OSError if the port is taken."""
    with _process(port) if process else _thread(port) as store:
        yield store


@contextmanager
def _thread(port: int) -> Iterator[ObjectStore]:
    _check_free(port)  # moto's thread would die silently on a taken port, and its start never end
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # or it writes a line per request
    server = load("moto.server").ThreadedMotoServer(LOOPBACK, port, verbose=False)
    server.start()
    try:
        host, bound = server.get_host_and_port()
        yield ObjectStore(f"http://{host}:{bound}")
    finally:
        server.stop()


@contextmanager
def _process(port: int) -> Iterator[ObjectStore]:
    """Run this module as a program: it says its URL when ready, and ends with its input."""
    load("moto.server")  # to say plainly that it is missing
    command = [sys.executable, "-m", __name__, str(port)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        with running.stdin:
            url = running.stdout.readline().strip()
            if not url:
                raise OSError(f"the object store did not start on port {port}")
            yield ObjectStore(url)


def _serve_until_input_ends(port: int) -> None:
    with object_store(port) as store:
        sys.stdout.write(f"{store.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


def _check_free(port: int) -> None:
    """Return if a server may listen at `port`. Raises OSError."""
    socket.create_server((LOOPBACK, port)).close()


def _client() -> httpx.Client:
    """Asks no proxy: the store is always on loopback."""
    return httpx.Client(trust_env=False, timeout=_TIMEOUT_S)


if __name__ == "__main__":
    _serve_until_input_ends(int(sys.argv[1]))
