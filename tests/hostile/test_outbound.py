"""The download client against addresses, names, redirects and answers that are made to trick it."""

# What is refused is proven at the resolver and at the connector: both note what they are asked.

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import httpcore
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.adapters.outbound import (
    DownloadLimits,
    GuardedBackend,
    OutboundPolicy,
    check_url,
    guarded_client,
    is_public,
)
from service.adapters.video_source import HttpVideoSource
from service.domain.errors import NotAVideo, ServiceError, SourceRefused, Transient
from tests.hostile.wire import watched
from tests.parts import missing
from tests.processes.running import ROOT
from tests.transfer.samples import mp4, status, whole
from tests.transfer.servers import Exchange, FaultCdn, Handler, ServerThread
from tests.transfer.test_outbound import FAL, HERE, Recorder

BODY = mp4(20_000)
QUICK = DownloadLimits(
    max_bytes=4 * 1024 * 1024,
    connect_timeout_s=0.5,
    answer_timeout_s=1,
    idle_timeout_s=0.5,
    rate_window_s=0.5,
    total_timeout_s=5,
    max_reconnects=1,
    reconnect_pause_s=0.001,
)
PATIENT = replace(QUICK, connect_timeout_s=10, answer_timeout_s=10, idle_timeout_s=10)

# IANA's special-purpose registries, and the addresses at which clouds answer their own machines.
SPECIAL_V4 = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    "168.63.129.16/32",
]
SPECIAL_V6 = [
    *("::/96", "::1/128", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001:2::/48"),
    *("2001:db8::/32", "2001:10::/28", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10"),
    *("ff00::/8", "fd00:ec2::254/128"),
]


def within(network: str) -> st.SearchStrategy[Any]:
    net = ip_network(network)
    first, last = int(net.network_address), int(net.broadcast_address)
    kind = IPv4Address if net.version == 4 else IPv6Address
    return st.integers(first, last).map(kind)


@given(st.sampled_from([*SPECIAL_V4, *SPECIAL_V6]).flatmap(within))
@settings(max_examples=150, deadline=None)
def test_no_address_of_a_special_network_is_public(address: IPv4Address | IPv6Address) -> None:
    """F53: any address of any of them, not those that a list happens to hold."""
    assert not is_public(address)


WRAPPINGS = {
    "mapped": lambda v4: (0xFFFF << 32) | v4,
    "NAT64": lambda v4: (0x64FF9B << 96) | v4,
    "6to4": lambda v4: (0x2002 << 112) | (v4 << 80) | 1,
    "Teredo": lambda v4: (0x20010000 << 96) | (0x08080808 << 64) | (v4 ^ 0xFFFF_FFFF),
}


@given(st.sampled_from(sorted(WRAPPINGS)), st.one_of(*map(within, SPECIAL_V4)))
@settings(max_examples=60, deadline=None)
def test_wrapping_an_address_in_ipv6_does_not_make_it_public(how: str, v4: IPv4Address) -> None:
    """F53: mapped, NAT64, 6to4 and Teredo."""
    assert not is_public(IPv6Address(WRAPPINGS[how](int(v4))))


HOSTS = [
    *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001", "0177.0.0.1"),
    *("127.1", "127.0.1", "0", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]"),
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.169.254.", "[fd00:ec2::254]"),
    *("[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "metadata.google.internal", "100.100.100.200"),
    *("localhost", "LOCALHOST", "localhost.", "foo.localhost", "localtest.me"),
    *("fal.media.evil.com", "evilfal.media", "fal-media", "fal.media%2eevil.com", "fal.media%00"),
    *("evil.com%00.fal.media", "evil.com%23.fal.media", "evil.com%2f.fal.media", "fal.media..evil"),
    *("evil.com%5c.fal.media", "fal.media\u3002evil.com", "fal.media\uff0eevil.com"),
    *("xn--fal-.media", "xn--fal.media-evil.com", "f\u0430l.media", "fal.medi\u0430", "\u24d5al.m"),
    *("127.0.0.1\u3002", "\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.0.0.1", "127.0.0.1%0a"),
    *("[::1%25lo]", "[fe80::1%25eth0]", "[v1.fal.media]", "fal.media]", "[fal.media"),
    *("fal.media evil.com", "fal.media\tevil.com", "fal.media\nevil.com", "*.fal.media", ".evil"),
]
FORMS = [
    *("https://{}/x.mp4", "https://{}:443/x", "https://{}:0443/x", "https://{}:80/x"),
    *("https://{}:22/x", "https://fal.media@{}/x", "https://fal.media:x@{}/x", "https://{}#fal"),
    *("https://{}?fal.media", "https://{}/fal.media", "https:{}", "https:/{}/x", "https:///{}/x"),
    *("//{}/x", "http://{}/x", "HTTPS://{}/x", "https://{}\\@fal.media/", "ftp://{}/x"),
    *("https://{}\\.fal.media/x", "gopher://{}/", "file://{}/etc/passwd", "data:{},x"),
]


class Notebook:
    """A resolver that notes the names it is asked for, and leads them all to one address."""

    def __init__(self, leads_to: str | Mapping[str, list[str]] = "8.8.8.8") -> None:
        self.names: list[str] = []
        self._leads_to = leads_to

    async def __call__(self, host: str, port: int) -> list[str]:  # noqa: ARG002 - a Resolver's
        self.names.append(host)
        return [self._leads_to] if isinstance(self._leads_to, str) else self._leads_to[host]


@contextlib.asynccontextmanager
async def noted(
    policy: OutboundPolicy, notebook: Notebook, limits: DownloadLimits = PATIENT
) -> AsyncIterator[tuple[HttpVideoSource, Recorder]]:
    """A source whose connector connects to nothing and notes where it should have."""
    async with guarded_client(policy, limits, resolve=notebook) as client:
        connector = Recorder()
        pool = client._transport._pool  # type: ignore[attr-defined]
        pool._network_backend = GuardedBackend(policy, notebook, connector)
        yield HttpVideoSource(client, policy, limits), connector


async def test_no_spelling_of_a_host_is_looked_up_or_connected_to_unless_it_is_fals() -> None:
    """F53: decimal, octal, hex and short forms, homographs, dots, escapes, user names, ports."""
    notebook, tried = Notebook(), 0
    async with noted(FAL, notebook) as (source, connector):
        for host in HOSTS:
            for form in FORMS:
                tried += 1
                with pytest.raises(ServiceError):
                    async with source.fetch(form.format(host)):
                        pytest.fail("connected to nothing")
    assert tried == len(HOSTS) * len(FORMS)
    # "https://HOST\\.fal.media" and the like: a name under fal's, which leads where fal's leads
    assert {name for name in notebook.names if not name.rstrip(".").endswith("fal.media")} == set()
    assert set(connector.connected) <= {"8.8.8.8"}


@given(st.text(st.characters(codec="utf-8"), max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text_is_an_allowed_address_or_refused(text: str) -> None:
    """F53: and what is allowed is https at fal's."""
    for url in (
        text,
        f"https://{text}/x",
        f"https://{text}.fal.media/x",
        f"https://fal.media{text}",
    ):
        try:
            checked = check_url(FAL, url)
        except SourceRefused:
            continue
        host = checked.raw_host.decode().rstrip(".")
        assert host == "fal.media" or host.endswith(".fal.media")
        assert (checked.scheme, checked.port, checked.userinfo) == ("https", None, b"")


async def test_each_try_looks_the_name_up_and_a_name_that_turns_private_is_left_alone() -> None:
    """F53: rebinding between two connections; neither answer is kept for the other."""
    answers = [["8.8.8.8"], ["10.0.0.1"], ["8.8.8.8", "169.254.169.254"], ["::ffff:10.0.0.1"]]
    looked_up = iter(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return next(looked_up)

    inner = Recorder()
    backend = GuardedBackend(FAL, resolve, inner)
    await backend.connect_tcp("v3.fal.media", 443)
    for _ in answers[1:]:
        with pytest.raises(SourceRefused):
            await backend.connect_tcp("v3.fal.media", 443)
    assert inner.connected == ["8.8.8.8"]


# ------------------------------------------------------------------------------ real servers


@pytest.fixture(scope="module")
def cdn() -> Any:
    thread = ServerThread()
    fault_cdn = FaultCdn()
    fault_cdn.port = thread.listen(fault_cdn.serve)
    yield fault_cdn
    thread.stop()


@contextlib.asynccontextmanager
async def reaching(
    names: Mapping[str, list[str]], limits: DownloadLimits
) -> AsyncIterator[tuple[HttpVideoSource, Notebook]]:
    notebook = Notebook(names)
    async with guarded_client(HERE, limits, resolve=notebook) as client:
        yield HttpVideoSource(client, HERE, limits), notebook


async def received(source: HttpVideoSource, url: str) -> bytes:
    async with source.fetch(url) as download:
        return b"".join([chunk async for chunk in download.chunks()])


NAMES = {
    "a.fal.media": ["127.0.0.1"],
    "b.fal.media": ["127.0.0.1"],
    "inside.fal.media": ["10.0.0.1"],
    "mixed.fal.media": ["127.0.0.1", "192.168.0.1"],
    "metadata.fal.media": ["169.254.169.254"],
}


@pytest.mark.parametrize("hidden", ["inside", "mixed", "metadata"])
async def test_each_hop_of_a_redirect_is_looked_up_and_checked(cdn: FaultCdn, hidden: str) -> None:
    """F53: a name under fal's own that leads inside, two hops away."""
    last = f"http://{hidden}.fal.media:{cdn.port}/x.mp4"
    second = cdn.url(status(302, Location=last), "b.fal.media")
    async with reaching(NAMES, PATIENT) as (source, notebook):
        good = cdn.url(status(302, Location=cdn.url(whole(BODY), "b.fal.media")), "a.fal.media")
        assert await received(source, good) == BODY
        with pytest.raises(SourceRefused):
            await received(source, cdn.url(status(302, Location=second), "a.fal.media"))
    assert notebook.names == ["a.fal.media", "b.fal.media"] * 2 + [f"{hidden}.fal.media"]


def head_of(text: bytes, *, endless: bool = False) -> Handler:
    async def handle(exchange: Exchange) -> None:
        await exchange.send(text)
        while endless:
            await exchange.send(text)
            await exchange.pause(0)
        await exchange.hang()

    return handle


def packed_bomb() -> Handler:
    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Encoding": "gzip", "Content-Length": 100})
        await exchange.send(bytes(100))

    return handle


OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS: dict[str, Handler] = {
    "a head of 200 KiB": head_of(OK + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n"),
    "ten thousand headers": head_of(OK + b"X-A: b\r\n" * 10_000 + b"\r\n"),
    "a head without an end": head_of(b"X-A: b\r\n", endless=True),
    "interim answers without an end": head_of(b"HTTP/1.1 103 Hints\r\n\r\n", endless=True),
    "two lengths": head_of(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "a negative length": head_of(OK + b"Content-Length: -1\r\n\r\n"),
    "a length beyond numbers": head_of(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
    "a chunk beyond numbers": head_of(
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"F" * 40 + b"\r\n"
    ),
    "packed in transfer": head_of(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "packed contents": packed_bomb(),
    "no HTTP": head_of(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "an upgrade": head_of(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
    "nothing": head_of(b""),
}


EVERY_DAY = {"two lengths", "packed contents", "an upgrade"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(each, id=name, marks=[] if name in EVERY_DAY else [pytest.mark.thorough])
        for name, each in ANSWERS.items()
    ],
)
async def test_an_answer_that_is_no_honest_one_ends_in_time(cdn: FaultCdn, answer: Handler) -> None:
    """Whatever the head does, in bounded time and memory, as an error of ours."""
    began = time.monotonic()
    async with reaching(NAMES, QUICK) as (source, _):
        with pytest.raises((Transient, NotAVideo)):
            await received(source, cdn.url(answer, "a.fal.media"))
    assert time.monotonic() - began < 10, "one second an answer, twice"


async def test_a_name_server_that_never_answers_is_given_up_in_time() -> None:
    """F53: looking up is part of connecting."""

    async def silent(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(httpcore.ConnectTimeout):
        await GuardedBackend(FAL, silent, Recorder()).connect_tcp("x.fal.media", 443, timeout=0.1)


# -------------------------------------------------------------------------------- the guard


def test_in_a_network_that_leads_nowhere_no_private_address_is_even_tried() -> None:
    """F53: with the real connector; that it would try is seen with a public address."""
    program = [sys.executable, "-m", "tests.hostile.isolated"]
    for alone in (["unshare", "-n"], ["unshare", "-rn"]):
        if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode == 0:
            break
    else:
        missing("no network namespaces may be made here")
    done = subprocess.run([*alone, *program], cwd=ROOT, check=True, capture_output=True, timeout=60)
    told = json.loads(done.stdout)
    assert set(told["private"]) == {"refused"}
    assert told["public"].startswith("tried: ")


async def test_the_guard_of_these_tests_lets_nothing_out() -> None:
    """A real client that nothing else holds back: its look-up, then its connection."""
    with watched() as left:
        async with httpx.AsyncClient(trust_env=False) as client:
            for url in ("http://fal.media/", "http://8.8.8.8/", "http://[2606:4700::1]/"):
                with pytest.raises(httpx.ConnectError):
                    await client.get(url)
    assert len(left) == 3
