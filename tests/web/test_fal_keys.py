"""fal's key set: rotated, broken, slow or away; what a delivery then comes to."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from nacl.signing import SigningKey

from service.adapters import key_set
from service.adapters.fal_signature import FalVerifier, parse_ed25519
from service.domain.errors import NotAuthentic, Transient
from tests.web.deliveries import Signer
from tests.web.key_sets import Published
from tests.web.verifiers import (
    refused,
    verifier_of,
)


async def test_a_rotated_key_is_fetched_at_once_and_the_old_one_serves_until_dropped() -> None:
    """F30: in the same request."""
    old, new = Signer(), Signer(SigningKey.generate())
    published = Published(keys=[old.jwk()])
    verifier = verifier_of(published)
    await verifier.verify(old.headers(b"1"), b"1")
    published.keys = [new.jwk(), old.jwk()]
    await verifier.verify(new.headers(b"2"), b"2")
    await verifier.verify(old.headers(b"3"), b"3")
    assert published.asked == 2


async def test_two_hundred_forgeries_cost_two_fetches() -> None:
    published, forger = Published(keys=[Signer().jwk()]), Signer(SigningKey.generate())
    verifier = verifier_of(published)
    for each in range(200):
        body = str(each).encode()
        await refused(verifier, forger.headers(body), body)
    assert published.asked == 2


@pytest.mark.parametrize(
    "broken",
    [
        Published(keys=[]),
        Published(keys=[Signer().jwk(kty="RSA")]),
        Published(keys=[Signer().jwk(crv="X25519")]),
        Published(keys=[Signer().jwk(x="AAAA")]),
        Published(keys=[Signer().jwk(x="é")]),
        Published(keys=[{"kty": "OKP", "crv": "Ed25519", "x": 5}]),
        Published(keys=[{}]),
        Published(content=b""),
        Published(content=b"<html>"),
        Published(content=b"\xff\xfe"),
        Published(content=b"[]"),
        Published(content=b'{"keys": {}}'),
        Published(content=b'{"keys": [1, null, "x", []]}'),
        Published(content=b"[" * 60_000),
        Published(content=b'{"keys": [], "x": "' + b"x" * 100_000 + b'"}'),
        Published(keys=[Signer().jwk(pad="x" * 100_000)]),
        Published(status=500),
        Published(status=404),
        Published(status=302, headers={"Location": "https://elsewhere.example"}),
        Published(status=0),
    ],
    ids=lambda each: f"{each.status} {(each.content or repr(each.keys).encode())[:40]!r}",
)
async def test_a_broken_key_set_is_our_fault_when_cold_and_leaves_the_last_good_one_when_warm(
    broken: Published,
) -> None:
    """F31, F33: empty, huge, of the wrong kind, or not there at all."""
    signer = Signer()
    with pytest.raises(Transient):
        await verifier_of(replace(broken, asked=0)).verify(signer.headers(b"{}"), b"{}")

    published = Published(keys=[signer.jwk()])
    verifier = verifier_of(published)
    await verifier.verify(signer.headers(b"1"), b"1")
    for name in ("keys", "content", "status", "headers"):
        setattr(published, name, getattr(broken, name))
    with pytest.raises((NotAuthentic, Transient)):
        await verifier.verify(Signer(SigningKey.generate()).headers(b"{}"), b"{}")
    assert published.asked == 2, "the forgery made it look again"
    await verifier.verify(signer.headers(b"2"), b"2")


async def test_one_usable_key_among_unusable_ones_is_enough() -> None:
    keys: list[Mapping[str, Any]] = [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        Signer().jwk(x="broken"),
        Signer(SigningKey.generate()).jwk(),
        Signer().jwk(kid="1", use="sig"),
    ]
    signed = await verifier_of(Published(keys=keys)).verify(Signer().headers(b"{}"), b"{}")
    assert signed.request_id == "req-1"


async def test_a_key_set_that_never_answers_is_given_up_after_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F33: a slow one."""
    monkeypatch.setattr(key_set, "TIMEOUT_S", 0.3)
    published = Published(hangs=True)
    with pytest.raises(Transient):
        await verifier_of(published).verify(Signer().headers(b"{}"), b"{}")
    assert published.asked == 1


async def test_an_old_key_set_is_fetched_anew_and_served_on_when_that_fails() -> None:
    """F31: stale keys are better than none."""
    published = Published(keys=[Signer().jwk()])
    keys = published.key_set(parse_ed25519)
    verifier = FalVerifier(keys, user_id=None)
    await verifier.verify(Signer().headers(b"1"), b"1")
    published.status = 503
    keys._fetched_at -= key_set.MAX_AGE_S + 1
    keys._tried_at -= key_set.MAX_AGE_S + 1
    await verifier.verify(Signer().headers(b"2"), b"2")
    assert published.asked == 2


async def test_without_any_key_another_fetch_is_tried_only_after_a_while() -> None:
    published = Published(status=503)
    keys = published.key_set(parse_ed25519)
    for _ in range(5):
        with pytest.raises(Transient):
            await keys.current()
    assert published.asked == 1
    published.status, published.keys = 200, [Signer().jwk()]
    keys._tried_at -= key_set.COLD_INTERVAL_S
    assert len(await keys.current()) == 1
