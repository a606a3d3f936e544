"""Sign-in tokens: how one is checked is never the token's choice."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from service.adapters.tokens import LEEWAY_S, Tokens, TokenSettings, parse_public_key
from service.domain.errors import SignInRequired, Transient
from service.sandbox.object_store import ObjectStore
from tests.web.conftest import KNOWN_KEY
from tests.web.forms import check_problem
from tests.web.key_sets import Published
from tests.world import SECRET, World, eventually, open_world
from tests.world import token as made_by_world

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str | None) -> Mapping[str, Any]:
    public = key.public_key()
    match key:
        case rsa.RSAPrivateKey():
            found = RSAAlgorithm.to_jwk(public, as_dict=True)
        case ec.EllipticCurvePrivateKey():
            found = ECAlgorithm.to_jwk(public, as_dict=True)
        case _:
            found = OKPAlgorithm.to_jwk(public, as_dict=True)
    return found if kid is None else {**found, "kid": kid}


def token(email: Any = "ana@example.com", **claims: Any) -> str:
    """As the world makes them, with an e-mail claim of any kind."""
    return made_by_world(email, **claims)


ALL_KEYS = [jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "o")]


def signed(key: Any, algorithm: str, kid: str | None, **claims: Any) -> str:
    headers = None if kid is None else {"kid": kid}
    told = {"email": "ana@example.com", "exp": int(time.time()) + 600, **claims}
    return jwt.encode(told, key, algorithm, headers=headers)


def by_keys(published: Published, **more: Any) -> Tokens:
    return Tokens(TokenSettings(keys=published.key_set(parse_public_key), **more))


def by_secret(**more: Any) -> Tokens:
    return Tokens(TokenSettings(secret=SECRET, **more))


async def refused(tokens: Tokens, text: str) -> str:
    with pytest.raises(SignInRequired) as caught:
        await tokens.sign_in(text)
    assert SECRET not in str(caught.value)
    return str(caught.value)


# -------------------------------------------------------------------------------------- HS256


async def test_our_secret_signs_in_and_the_address_is_one_spelling() -> None:
    assert (await by_secret().sign_in(token("  Ana@Example.COM "))).email == "ana@example.com"


@pytest.mark.parametrize(
    "text",
    [
        jwt.encode({"email": "a@b.c"}, "x" * 48, "HS256"),
        jwt.encode({"email": "a@b.c"}, SECRET + "x" * 20, "HS512"),
        jwt.encode({"email": "a@b.c"}, "", "none"),
        signed(RSA, "RS256", None),
        token(email=None),
        token(email="ana"),
        token(email=["a@b.c"]),
        token(exp="soon"),
        token(exp=None),
        token(nbf=4_000_000_000),
        token(iat=4_000_000_000),
        token() + "A",
        token().replace(".", "..", 1),
        token()[:-1],
        "",
        ".",
        "..",
        "a.b.c",
        "é",
        "\0",
        "e30.e30.",
    ],
    ids=lambda text: text[:20],
)
async def test_a_token_that_our_secret_did_not_sign_or_that_says_nothing_usable_is_refused(
    text: str,
) -> None:
    await refused(by_secret(), text)


async def test_an_expired_sign_in_says_so() -> None:
    text = token(exp=int(time.time()) - LEEWAY_S - 60)
    assert "expired" in await refused(by_secret(), text)


async def test_clocks_may_differ_by_the_leeway() -> None:
    now = int(time.time())
    assert (
        await by_secret().sign_in(token(exp=now - LEEWAY_S + 10, nbf=now + LEEWAY_S - 10))
    ).email


@pytest.mark.parametrize("exp", [10**400, -1, "Infinity"], ids=["10^400", "-1", "Infinity"])
async def test_an_absurd_expiry_is_refused_and_breaks_nothing(exp: Any) -> None:
    number = float("inf") if exp == "Infinity" else exp
    with pytest.raises(SignInRequired):
        await by_secret().sign_in(hand_made({"alg": "HS256"}, {"email": "a@b.c", "exp": number}))


@pytest.mark.parametrize("name", ["audience", "issuer"])
async def test_audience_and_issuer_are_demanded_once_they_are_configured(name: str) -> None:
    claim = {"audience": "aud", "issuer": "iss"}[name]
    strict: Any = {name: "fal-video"}
    assert (await by_secret(**strict).sign_in(token(**{claim: "fal-video"}))).email
    await refused(by_secret(**strict), token(**{claim: "another"}))
    await refused(by_secret(**strict), token())
    assert (await by_secret().sign_in(token(**{claim: "any"}))).email


async def test_one_of_several_audiences_is_enough() -> None:
    assert (await by_secret(audience="b").sign_in(token(aud=["a", "b"]))).email
    await refused(by_secret(audience="b"), token(aud=["a", "bb"]))


async def test_without_any_way_to_sign_in_nobody_is_signed_in() -> None:
    await refused(Tokens(TokenSettings()), token())


# -------------------------------------------------------------------------------------- JWKS


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "o")],
    ids=["RS256", "ES256", "EdDSA"],
)
async def test_a_key_of_the_issuers_set_signs_in(key: Any, algorithm: str, kid: str) -> None:
    published = Published(keys=ALL_KEYS)
    tokens = by_keys(published)
    assert (await tokens.sign_in(signed(key, algorithm, kid))).email == "ana@example.com"
    await tokens.sign_in(signed(key, algorithm, kid))
    assert published.asked == 1, "the set is cached"


async def test_a_token_without_a_key_id_fits_a_set_of_one_only() -> None:
    assert (
        await by_keys(Published(keys=[jwk(RSA, None)])).sign_in(signed(RSA, "RS256", None))
    ).email
    await refused(by_keys(Published(keys=ALL_KEYS)), signed(RSA, "RS256", None))


async def test_a_rotated_key_is_fetched_within_the_same_call() -> None:
    published = Published(keys=[jwk(RSA, "1")])
    tokens = by_keys(published)
    await tokens.sign_in(signed(RSA, "RS256", "1"))
    published.keys = [jwk(OTHER_RSA, "2")]
    assert (await tokens.sign_in(signed(OTHER_RSA, "RS256", "2"))).email
    await refused(tokens, signed(RSA, "RS256", "1"))
    assert published.asked == 2


async def test_a_token_that_was_good_a_moment_ago_still_ends() -> None:
    """What is remembered of it is not asked about its end alone."""
    tokens, ends = by_secret(), int(time.time()) - LEEWAY_S + 2
    token = signed(SECRET, "HS256", None, exp=ends)
    assert (await tokens.sign_in(token)).expires_at == datetime.fromtimestamp(ends, UTC)

    async def over() -> bool | None:
        try:
            await tokens.sign_in(token)
        except SignInRequired:
            return True
        return None

    await eventually(over)
    assert time.time() >= ends + LEEWAY_S


async def test_no_more_tokens_are_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.adapters.tokens.MAX_REMEMBERED", 3)
    tokens = by_secret()
    for number in range(10):
        await tokens.sign_in(signed(SECRET, "HS256", None, jti=str(number)))
    assert len(tokens._passed) == 3


async def test_a_flood_of_unknown_key_ids_costs_two_fetches() -> None:
    published = Published(keys=ALL_KEYS)
    tokens = by_keys(published)
    for each in range(100):
        await refused(tokens, signed(RSA, "RS256", f"unknown-{each}"))
    assert published.asked == 2


async def test_another_key_under_a_known_key_id_is_refused() -> None:
    await refused(by_keys(Published(keys=ALL_KEYS)), signed(OTHER_RSA, "RS256", "r"))


def hand_made(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes = b"") -> str:
    """A token as an attacker makes it: jwt.encode refuses to help with this one."""
    key = secret or SECRET.encode()
    parts = [
        base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=")
        for each in (header, claims)
    ]
    mac = hmac.new(key, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def public_forms() -> list[bytes]:
    public = RSA.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return [
        pem,
        pem.strip(),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(dict(jwk(RSA, "r"))).encode(),
        str(jwk(RSA, "r")["n"]).encode(),
    ]


@pytest.mark.parametrize("secret", public_forms())
@pytest.mark.parametrize("kid", ["r", None])
async def test_the_public_key_as_an_hs256_secret_opens_nothing(
    secret: bytes, kid: str | None
) -> None:
    published = Published(keys=[jwk(RSA, kid)])
    header = {"alg": "HS256", "typ": "JWT"} | ({"kid": kid} if kid else {})
    await refused(by_keys(published), hand_made(header, {"email": "a@b.c"}, secret))


@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS256", "HS512", "RS512", "ES384"])
async def test_an_algorithm_that_is_not_pinned_is_refused(algorithm: str) -> None:
    text = hand_made({"alg": algorithm, "kid": "r"}, {"email": "a@b.c"})
    await refused(by_keys(Published(keys=ALL_KEYS)), text)
    await refused(by_keys(Published(keys=ALL_KEYS)), text.rpartition(".")[0] + ".")


@pytest.mark.parametrize("kid", ["r", "e", "o"])
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_an_allowed_algorithm_on_a_key_of_another_kind_is_refused(
    algorithm: str, kid: str
) -> None:
    """Anybody can write such a token: it must be a refusal, not a failure of ours."""
    text = hand_made({"alg": algorithm, "kid": kid}, {"email": "a@b.c"})
    await refused(by_keys(Published(keys=ALL_KEYS)), text)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RS256", "kid": 5},
        {"alg": "RS256", "kid": ["r"]},
        {"alg": "RS256", "kid": None},
        {"alg": ["RS256"], "kid": "r"},
        {"alg": "RS256", "kid": "r", "crit": ["b64"], "b64": False},
        {"kid": "r"},
        {"alg": "RS256", "jku": "https://evil.example", "kid": "x"},
    ],
    ids=repr,
)
async def test_an_odd_header_is_refused(header: Mapping[str, Any]) -> None:
    await refused(by_keys(Published(keys=ALL_KEYS)), hand_made(header, {"email": "a@b.c"}))


@pytest.mark.parametrize(
    "odd",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x"},
        {"kty": "RSA", "kid": "x"},
        {"kty": "RSA", "n": 5, "e": "AQAB", "kid": "x"},
        {"kty": "RSA", "n": "!", "e": "!", "kid": "x"},
        {"kty": "EC", "crv": "P-0", "x": "AA", "y": "AA", "kid": "x"},
        {"kty": "EC", "crv": "P-256", "x": 1, "y": 2, "kid": "x"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "x"},
        {"kty": "OKP", "crv": "Ed25519", "x": None, "kid": "x"},
        {"kty": ["RSA"], "kid": "x"},
        {},
    ],
    ids=repr,
)
async def test_an_unusable_key_in_the_set_leaves_the_usable_ones(odd: Mapping[str, Any]) -> None:
    tokens = by_keys(Published(keys=[odd, jwk(RSA, "r")]))
    assert (await tokens.sign_in(signed(RSA, "RS256", "r"))).email


async def test_an_issuer_that_cannot_be_reached_is_our_fault_and_no_refusal() -> None:
    with pytest.raises(Transient):
        await by_keys(Published(status=503)).sign_in(signed(RSA, "RS256", "r"))


@given(text=st.one_of(st.text(max_size=200), st.from_regex(r"[\w-]{0,40}(\.[\w-]{0,40}){2}")))
@settings(max_examples=150, deadline=None)
async def test_any_text_is_a_refusal_and_nothing_else(text: str) -> None:
    await refused(by_secret(), text)
    await refused(by_keys(Published(keys=[jwk(RSA, None)])), text)


# --------------------------------------------------------------------------------- over HTTP


@asynccontextmanager
async def demanding(s3: ObjectStore) -> AsyncIterator[World]:
    async with open_world(
        s3, sandbox=KNOWN_KEY, AUTH_AUDIENCE="fal-video", AUTH_ISSUER="https://issuer.example"
    ) as world:
        yield world


async def test_audience_and_issuer_of_the_settings_are_demanded_over_http(
    s3: ObjectStore,
) -> None:
    good = {"aud": "fal-video", "iss": "https://issuer.example"}
    async with demanding(s3) as world:

        async def ask(**claims: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token(**claims)}"}
            return await world.http.get("/api/credits", headers=headers)

        assert (await ask(**good)).status_code == 200
        for wrong in ({}, good | {"aud": "another"}, good | {"iss": "another"}):
            answer = await ask(**wrong)
            check_problem(answer, 401, "sign_in_required")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_development_user_signs_in_by_itself_but_not_past_a_bad_token(
    s3: ObjectStore,
) -> None:
    async with open_world(s3, sandbox=KNOWN_KEY, AUTH_DEVELOPMENT_USER="dev@example.com") as world:
        await world.grant(7, "dev@example.com")
        assert (await world.http.get("/api/credits")).json()["available"] == 7
        for bad in ("Bearer x", "Bearer", "Basic x"):
            answer = await world.http.get("/api/credits", headers={"Authorization": bad})
            check_problem(answer, 401, "sign_in_required")
        answer = await world.http.get("/api/credits", headers={"Cookie": "session=x"})
        check_problem(answer, 401, "sign_in_required")


async def test_in_production_a_sign_in_must_have_an_end() -> None:
    endless = jwt.encode({"email": "ana@example.com"}, SECRET, "HS256")
    lenient = Tokens(TokenSettings(secret=SECRET))
    assert (await lenient.sign_in(endless)).expires_at is None
    strict = Tokens(TokenSettings(secret=SECRET, must_expire=True))
    with pytest.raises(SignInRequired):
        await strict.sign_in(endless)
    assert (await strict.sign_in(token())).email == "ana@example.com"
