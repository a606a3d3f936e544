"""The HTTP client for addresses that come from outside, guarded against server-side forgery.

Three fences, each of which would do alone: the address must name an allowed host (`check_url`),
every address that host resolves to must be public, and the connection goes to the very address
that was checked, so that no second DNS answer can differ (`GuardedBackend`).
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import certifi
import httpcore
import httpx

from service.adapters.outbound_stream import Backend
from service.domain.errors import SourceRefused

Resolver = Callable[[str, int], Awaitable[list[str]]]

# A CDN answers with a handful; past three dead ones the next attempt may ask again.
ADDRESSES_TRIED: Final = 3
HOST: Final = re.compile(r"[a-z0-9.:-]+")  # httpx lets through what no name server would
PORTS: Final = range(1, 65536)
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})

# Python 3.11 calls these global: IETF protocol assignments (a cloud's metadata service lives
# there), the 6to4 relays, and the address at which Azure answers its own machines.
NOT_FOR_US_V4: Final = (
    ip_network("192.0.0.0/24"),
    ip_network("192.88.99.0/24"),
    ip_network("168.63.129.16/32"),
)
UNICAST_V6: Final = ip_network("2000::/3")
NAT64: Final = ip_network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboundPolicy:
    """Where we may fetch from. "fal.media" allows itself and every name under it.

    `development` also allows this machine (loopback, and nothing else that is private), over
    http and on any port, so that the sandbox can stand in for the CDN.
    """

    allowed_hosts: tuple[str, ...]
    development: bool = False

    def allows_host(self, host: str) -> bool:
        if self.development and host in LOOPBACK_NAMES:
            return True
        return any(host == name or host.endswith(f".{name}") for name in self.allowed_hosts)

    def allows_address(self, address: str) -> bool:
        parsed = ip_address(address)
        return is_public(parsed) or (self.development and parsed.is_loopback)


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadLimits:
    """What one download may cost us."""

    # A 15 s 4K clip is some 150 MB; a file over this is no clip, and would fill our bandwidth.
    max_bytes: int = 2 * 1024**3
    connect_timeout_s: float = 10.0
    # From asking to the answer's head, redirects included.
    answer_timeout_s: float = 30.0
    # No byte for this long: the connection is dead, ask again.
    idle_timeout_s: float = 20.0
    # Slower than 64 KiB/s over 15 s of waiting is a stalled or hostile sender, not a slow one.
    min_bytes_per_s: float = 64 * 1024
    rate_window_s: float = 15.0
    # All of it, storage's back-pressure included; shorter than any job's lease is renewed for.
    total_timeout_s: float = 900.0
    # fal's CDN redirects once at most.
    max_redirects: int = 3
    # Each resumes where the last one broke; a CDN that breaks more often is left for later.
    max_reconnects: int = 4
    # Doubles with each reconnect: 0.5, 1, 2, 4 s.
    reconnect_pause_s: float = 0.5
    # From so much on, the rest of a body is read past HTTP's layers, each of which copies it. The
    # connection ends with the body then, which for less would cost more than it saves.
    read_directly_from_bytes: int = 8 * 1024**2
    # Downloads at once; the caller queues for a connection beyond it.
    max_connections: int = 32


def check_url(policy: OutboundPolicy, url: str | httpx.URL) -> httpx.URL:
    """The parsed address if it may be fetched: parsed once, so what was checked is what is used.

    Raises SourceRefused, whose message names the host at most: the rest may hold a signature.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise SourceRefused("the address cannot be parsed") from None
    host = parsed.raw_host.decode("ascii").rstrip(".").lower()
    if parsed.userinfo:
        raise SourceRefused(f"the address at {host} carries credentials")
    if not HOST.fullmatch(host) or not policy.allows_host(host):
        raise SourceRefused(f"the host {host!r} is not one we fetch from")
    if policy.development and parsed.scheme in {"http", "https"} and (parsed.port or 80) in PORTS:
        return parsed
    if parsed.scheme != "https" or parsed.port is not None:  # httpx drops a scheme's own port
        raise SourceRefused(f"the address at {host} is not https on port 443")
    return parsed


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is a machine on the public internet, also when it is wrapped in IPv6."""
    if isinstance(address, IPv4Address):
        reserved = any(address in network for network in NOT_FOR_US_V4)
        return address.is_global and not address.is_multicast and not reserved
    wrapped = _wrapped_v4(address)
    if wrapped is not None:
        return is_public(wrapped)
    # Leaves out ULA, link-local, site-local, multicast, ::, ::1, ::a.b.c.d and 64:ff9b:1::/48,
    # the NAT64 prefix whose meaning the local network alone decides.
    return address in UNICAST_V6 and address.is_global


def _wrapped_v4(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to a mapped, NAT64, 6to4 or Teredo address end up at."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def guarded_client(
    policy: OutboundPolicy, limits: DownloadLimits, *, resolve: Resolver | None = None
) -> httpx.AsyncClient:
    """A client that reaches public addresses only, whatever a name resolves to.

    It follows no redirect, heeds no proxy variable (either would go around the checks), keeps no
    cookie, and asks for unencoded bodies. Callers check each URL with `check_url` first.
    """
    pool = httpx.Limits(max_connections=limits.max_connections, keepalive_expiry=15)
    transport = _GuardedTransport(GuardedBackend(policy, resolve or _resolve), pool)
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"Accept-Encoding": "identity", "User-Agent": "fal-video"},
        timeout=httpx.Timeout(limits.idle_timeout_s, connect=limits.connect_timeout_s),
    )


@cache
def tls_context() -> ssl.SSLContext:
    """The trusted authorities, read once per process: 50 ms a time otherwise."""
    return ssl.create_default_context(cafile=certifi.where())


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx has no argument for httpcore's network backend, so the pool is put in here."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, limits: httpx.Limits) -> None:
        context = tls_context()
        super().__init__(verify=context, trust_env=False, limits=limits)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=backend,
        )


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves, refuses, and connects to an address that passed: one look-up, no second."""

    def __init__(
        self,
        policy: OutboundPolicy,
        resolve: Resolver,
        inner: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._policy = policy
        self._resolve = resolve
        self._inner = inner or Backend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to `host`. Raises SourceRefused if any one of its addresses is not allowed."""
        addresses = await self._allowed_addresses(host, port, timeout)
        *others, last = addresses[:ADDRESSES_TRIED]
        for address in others:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the last address decides
        return await self._inner.connect_tcp(last, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    async def _allowed_addresses(self, host: str, port: int, timeout_s: float | None) -> list[str]:
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await self._resolve(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"resolving {host} took too long") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} does not resolve") from error
        if not addresses:
            raise httpcore.ConnectError(f"{host} has no address")
        # One bad answer among good ones condemns the name: no honest CDN mixes them.
        if not all(self._policy.allows_address(address) for address in addresses):
            raise SourceRefused(f"{host} resolves to an address that is not public")
        return addresses


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))
