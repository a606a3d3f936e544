"""Every refusal is proven at the connector: the inner backend records what it is asked to do."""

# ruff: noqa: ARG002 - stand-ins take what the real ones do

from collections.abc import Iterable

import httpcore
import httpx
import pytest

from service.adapters.outbound import (
    DownloadLimits,
    GuardedBackend,
    OutboundPolicy,
    check_url,
    guarded_client,
)
from service.domain.errors import SourceRefused

FAL = OutboundPolicy(allowed_hosts=("fal.media",))
HERE = OutboundPolicy(allowed_hosts=("fal.media",), development=True)


class Recorder(httpcore.AsyncNetworkBackend):
    """Connects to nothing; the addresses in `dead` do not even answer."""

    def __init__(self, dead: Iterable[str] = ()) -> None:
        self.connected: list[str] = []
        self._dead = set(dead)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        if host in self._dead:
            raise httpcore.ConnectError("dead")
        return httpcore.AsyncMockStream([])


class Dns:
    """Answers with the next list each time it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked = 0
        self._answers = answers

    async def __call__(self, host: str, port: int) -> list[str]:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return answer


PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.88.99.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "198.18.0.1",
    "::",
    "::1",
    "::10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:808:808::80ff:fffe",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_resolves_to_a_private_address_is_never_connected_to(
    address: str,
) -> None:
    """F53: loopback, metadata and everything else that is not public."""
    inner = Recorder()
    with pytest.raises(SourceRefused):
        await GuardedBackend(FAL, Dns([address]), inner).connect_tcp("v3.fal.media", 443)
    assert inner.connected == []


@pytest.mark.parametrize("address", sorted(set(PRIVATE) - {"127.0.0.1", "127.8.8.8", "::1"}))
async def test_development_adds_loopback_and_nothing_else(address: str) -> None:
    inner = Recorder()
    with pytest.raises(SourceRefused):
        await GuardedBackend(HERE, Dns([address]), inner).connect_tcp("v3.fal.media", 443)
    assert inner.connected == []


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
async def test_a_public_address_is_connected_to_by_that_very_address(address: str) -> None:
    inner = Recorder()
    await GuardedBackend(FAL, Dns([address]), inner).connect_tcp("v3.fal.media", 443)
    assert inner.connected == [address]


async def test_one_private_answer_among_public_ones_condemns_the_name() -> None:
    """F53: mixed answers."""
    inner = Recorder()
    with pytest.raises(SourceRefused):
        await GuardedBackend(FAL, Dns(["8.8.8.8", "10.0.0.1"]), inner).connect_tcp("x", 443)
    assert inner.connected == []


async def test_a_name_is_resolved_once_so_a_second_answer_cannot_differ() -> None:
    """F53: a name server that answers differently the second time."""
    dns, inner = Dns(["8.8.8.8"], ["127.0.0.1"]), Recorder()
    await GuardedBackend(FAL, dns, inner).connect_tcp("v3.fal.media", 443)
    assert (dns.asked, inner.connected) == (1, ["8.8.8.8"])


async def test_a_few_dead_addresses_are_passed_over_and_then_it_ends() -> None:
    inner = Recorder(dead=["8.8.8.1"])
    await GuardedBackend(FAL, Dns(["8.8.8.1", "8.8.8.2"]), inner).connect_tcp("x", 443)
    assert inner.connected == ["8.8.8.1", "8.8.8.2"]

    all_dead = [f"8.8.8.{n}" for n in range(9)]
    inner = Recorder(dead=all_dead)
    with pytest.raises(httpcore.ConnectError):
        await GuardedBackend(FAL, Dns(all_dead), inner).connect_tcp("x", 443)
    assert inner.connected == all_dead[:3]


async def test_a_name_without_an_address_is_a_failed_connection() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError(host)

    for resolve in (unknown, Dns([])):
        with pytest.raises(httpcore.ConnectError):
            await GuardedBackend(FAL, resolve, Recorder()).connect_tcp("x", 443)


async def test_the_client_itself_is_guarded_whatever_it_is_asked() -> None:
    """F53: refused at connect."""
    dns = Dns(["169.254.169.254"])
    async with guarded_client(FAL, DownloadLimits(), resolve=dns) as client:
        with pytest.raises(SourceRefused):
            await client.get("http://metadata.internal/latest")
        with pytest.raises(SourceRefused):
            await client.get("http://127.0.0.1:1/")
    assert dns.asked == 2


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    dns = Dns(["10.0.0.1"])
    async with guarded_client(FAL, DownloadLimits(), resolve=dns) as client:
        with pytest.raises(SourceRefused):
            await client.get("https://v3.fal.media/x.mp4")
    assert dns.asked == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://fal.media/x.mp4",
        "https://v3.fal.media/x.mp4?sig=1",
        "https://V3B.FAL.MEDIA:443/x",
        "https://fal.media./x",
    ],
)
def test_fal_and_its_subdomains_are_allowed(url: str) -> None:
    assert check_url(FAL, url).scheme == "https"


@pytest.mark.parametrize("policy", [FAL, HERE], ids=["production", "development"])
@pytest.mark.parametrize(
    "url",
    [
        "https://evilfal.media/x",
        "https://fal.media.evil.com/x",
        "https://fal.media@evil.com/x",
        "https://user:pass@fal.media/x",
        "https://evil.com/fal.media",
        "https://evil.com#fal.media",
        "https://evil.com?fal.media",
        "https://evil.com\\.fal.media/x",
        "https://fal。media.evil.com/",
        "https://169.254.169.254/latest",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::ffff:7f00:1]/",
        "https://10.0.0.1/",
        "ftp://fal.media/x",
        "file:///etc/passwd",
        "gopher://fal.media/",
        "fal.media/x",
        "//fal.media/x",
        "",
        "https://",
        "https://fal.media:99999/",
        "https://fal.media\r\nHost: evil.com/",
        "javascript:alert(1)",
    ],
)
def test_what_is_not_an_address_of_fal_is_refused(url: str, policy: OutboundPolicy) -> None:
    with pytest.raises(SourceRefused):
        check_url(policy, url)


@pytest.mark.parametrize(
    "url",
    [
        "http://fal.media/x",
        "https://fal.media:8443/x",
        "https://fal.media:80/x",
        "https://127.0.0.1/x",
        "http://localhost:9000/x",
        "https://[::1]/x",
    ],
)
def test_http_other_ports_and_this_machine_are_for_development_only(url: str) -> None:
    with pytest.raises(SourceRefused):
        check_url(FAL, url)
    assert check_url(HERE, url) == httpx.URL(url)


def test_a_refusal_does_not_repeat_the_signature_in_the_address() -> None:
    with pytest.raises(SourceRefused) as refused:
        check_url(FAL, "https://user:pw@fal.media/secret?sig=secret")
    assert "secret" not in str(refused.value)
    assert "pw" not in str(refused.value)
