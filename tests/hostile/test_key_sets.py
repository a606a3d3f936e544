"""Key sets that are hostile, huge, slow or in the middle of a change: our fault, never an entry."""

import asyncio
import base64
import gzip
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from service.adapters import key_set
from service.adapters.fal_signature import FalVerifier, parse_ed25519
from service.adapters.key_set import KeySet
from service.domain.errors import NotAuthentic, Transient
from tests.transfer.servers import Exchange, FaultCdn, Handler, ServerThread
from tests.web.deliveries import ACCOUNT, Signer
from tests.web.key_sets import Published
from tests.web.verifiers import refused, verifier_of

PREFIX = "x-fal-webhook-"
BODY = (
    b'{"error": null, "payload": {"video": {"url": "https://v3.fal.media/a.mp4"}}, "status": "OK"}'
)


async def test_the_last_of_a_hundred_keys_is_found_and_a_forger_costs_two_looks() -> None:
    """F30: not only the first key counts, and names of keys count for nothing."""
    others = [Signer(SigningKey.generate()).jwk(kid="same") for _ in range(99)]
    published = Published(keys=[*others, Signer().jwk(kid="same")])
    verifier = verifier_of(published)
    assert (await verifier.verify(Signer().headers(BODY), BODY)).user_id == ACCOUNT
    await refused(verifier, Signer(SigningKey.generate()).headers(BODY), BODY)
    assert published.asked == 2


KIDS: list[Any] = [None, "", "../../etc/passwd", "' OR 1=1", "https://evil.example/k", 5, [], {}]


@pytest.mark.parametrize("kid", KIDS, ids=repr)
async def test_no_name_of_a_key_makes_it_another(kid: Any) -> None:
    key: dict[str, Any] = {**Signer().jwk(), "kid": kid, "jku": "https://evil.example", "x5u": kid}
    published = Published(keys=[key])
    assert (await verifier_of(published).verify(Signer().headers(BODY), BODY)).request_id
    await refused(verifier_of(published), Signer(SigningKey.generate()).headers(BODY), BODY)


WEAK = [bytes(32), b"\1" + bytes(31), bytes(31) + b"\x80", b"\xec" + b"\xff" * 30 + b"\x7f"]


@pytest.mark.parametrize("point", WEAK, ids=bytes.hex)
async def test_a_key_of_small_order_verifies_no_signature(point: bytes) -> None:
    """F25: with such a key, signatures of zeros fit many messages unless the point is checked."""
    x = base64.urlsafe_b64encode(point).rstrip(b"=").decode()
    verifier = verifier_of(Published(keys=[{"kty": "OKP", "crv": "Ed25519", "x": x}]))
    for made in (bytes(64), point + bytes(32), b"\1" + bytes(63)):
        headers = Signer().headers(BODY) | {PREFIX + "signature": made.hex()}
        await refused(verifier, headers, BODY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


JWK = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "kid", "use", "n", "e"]),
    st.sampled_from(["OKP", "Ed25519", "RSA", "EC", "AAAA", "é", "A" * 43]) | JSON,
)


@pytest.mark.thorough
@given(st.lists(JWK | JSON, max_size=5) | JSON)
@settings(max_examples=60, deadline=None)
async def test_any_json_is_a_key_set_or_our_fault(found: Any) -> None:
    """F33: whatever it holds, the sender hears 503, or 401 where a key could be read."""
    published = Published(content=json.dumps({"keys": found}).encode())
    with pytest.raises((Transient, NotAuthentic)):
        await verifier_of(published).verify(Signer().headers(BODY), BODY)
    assert published.asked <= 2


@pytest.fixture(scope="module")
def server() -> Any:
    thread = ServerThread()
    cdn = FaultCdn()
    cdn.port = thread.listen(cdn.serve)
    yield cdn
    thread.stop()


def trickled() -> Handler:
    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Length": 10_000})
        while True:
            await exchange.send(b" ")
            await exchange.pause(0.05)

    return handle


def served(body: bytes, **headers: object) -> Handler:
    async def handle(exchange: Exchange) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        exchange.head(200, {"Content-Length": len(body), **named})
        await exchange.send(body)

    return handle


def endless() -> Handler:
    async def handle(exchange: Exchange) -> None:
        exchange.head(200, {}, version="1.0")
        while True:
            await exchange.send(b" " * 65_536)

    return handle


BOMB = gzip.compress(b'{"keys": []}' + b" " * 50_000_000)


KEYS: dict[str, Handler] = {
    "a byte now and then": trickled(),
    "without an end": endless(),
    "packed, a thousand times as large": served(BOMB, Content_Encoding="gzip"),
    "packed with what nobody knows": served(b"x", Content_Encoding="br, zstd"),
    "one byte over the limit": served(b" " * (key_set.MAX_BYTES + 1)),
    "an address inside": served(b"", Location="http://169.254.169.254/"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("handler", KEYS.values(), ids=KEYS)
async def test_a_key_set_served_with_malice_is_our_fault_in_bounded_time(
    server: FaultCdn, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F33: slow, endless, packed, too large; over a real connection."""
    monkeypatch.setattr(key_set, "TIMEOUT_S", 0.5)
    async with httpx.AsyncClient(trust_env=False) as client:
        keys = KeySet(client, server.url(handler), parse_ed25519)
        verifier = FalVerifier(keys, user_id=ACCOUNT)
        async with asyncio.timeout(10):
            for _ in range(20):
                with pytest.raises(Transient):
                    await verifier.verify(Signer().headers(BODY), BODY)
        assert keys.fetches == 1


async def test_a_flood_meets_a_rotation_and_an_outage_and_the_right_ones_pass() -> None:
    """F30, F31: forgeries and good deliveries mixed, while keys change and the set goes away."""
    old, new, forger = Signer(), Signer(SigningKey.generate()), Signer(SigningKey.generate())
    published = Published(keys=[old.jwk()])
    verifier = verifier_of(published)

    async def one(number: int, signer: Signer) -> str:
        body = str(number).encode()
        try:
            await verifier.verify(signer.headers(body), body)
        except (NotAuthentic, Transient) as error:
            return error.code
        return "passed"

    async def mixed(good: Signer) -> list[str]:
        return await asyncio.gather(*(one(n, forger if n % 4 else good) for n in range(200)))

    assert set((await mixed(old))[::4]) == {"passed"}
    published.keys = [new.jwk(), old.jwk()]
    verifier._keys._missed_at -= key_set.MISS_INTERVAL_S
    told = await mixed(new)
    assert set(told[::4]) == {"passed"}, "within the very requests that met the new key"
    published.status = 503
    verifier._keys._missed_at -= key_set.MISS_INTERVAL_S
    told = await mixed(new)
    assert set(told[::4]) == {"passed"}, "known keys serve on"
    assert {*told[1::4], *told[2::4]} == {"temporarily_unavailable"}, "perhaps signed with a newer"
    assert published.asked <= 4
