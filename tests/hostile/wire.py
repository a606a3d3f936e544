"""Nothing a test does may leave this machine: sockets and name look-ups are watched."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any, Final

import pytest

HERE: Final = frozenset({"localhost", "0.0.0.0", "::", "", None})


class Left(OSError):
    """A packet would have left loopback."""


def stays(host: object) -> bool:
    """Whether packets to this host, named or by address, stay on this machine."""
    if host in HERE:
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    return False  # a name: looking it up is a packet already


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Around a test: what would have left is refused, and noted in case that is swallowed."""
    left: list[str] = []

    def guard(name: str) -> Any:
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, *given: Any) -> Any:
            # sendto has the address last, after the data and perhaps flags
            address = given[-1]
            internet = self.family in {socket.AF_INET, socket.AF_INET6}
            if internet and not stays(address[0]):
                left.append(f"{name} {address}")
                raise Left(f"{name} {address}")
            return real(self, *given)

        return guarded

    look_up = socket.getaddrinfo

    def looked_up(host: Any, *given: Any, **named: Any) -> Any:
        if not stays(host):
            left.append(f"look up {host}")
            raise socket.gaierror(f"no look-up of {host!r} in tests")
        return look_up(host, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guard(name), raising=False)
        patch.setattr(socket, "getaddrinfo", looked_up)
        yield left
