"""The verifier: what fal signed passes, everything else is NotAuthentic, and nothing else ever."""

import base64
from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from service.adapters.fal_signature import FRESH_FOR_S
from service.domain.errors import NotAuthentic
from service.ports import Signed
from tests.web.deliveries import Signer
from tests.web.key_sets import Published
from tests.web.verifiers import (
    EVERY_HEADER,
    VECTOR,
    VECTOR_AT,
    VECTOR_BODY,
    VECTOR_X,
    refused,
    vector_verifier,
    verifier_of,
)


async def test_the_vector_of_the_facts_passes() -> None:
    assert len(VECTOR_BODY) == 221
    assert await vector_verifier().verify(VECTOR, VECTOR_BODY) == Signed(
        request_id=VECTOR["x-fal-webhook-request-id"], user_id="github|1234", stale=False
    )


async def test_an_upper_case_signature_passes() -> None:
    name = "x-fal-webhook-signature"
    signed = await vector_verifier().verify(VECTOR | {name: VECTOR[name].upper()}, VECTOR_BODY)
    assert not signed.stale


@pytest.mark.parametrize("x", [VECTOR_X, VECTOR_X + "=", VECTOR_X + "=="])
async def test_a_key_passes_with_and_without_padding(x: str) -> None:
    published = Published(keys=[{"kty": "OKP", "crv": "Ed25519", "x": x}])
    signed = await verifier_of(published, None).verify(VECTOR, VECTOR_BODY)
    assert signed.user_id == "github|1234"


@pytest.mark.parametrize(
    ("age_s", "stale"),
    [
        (0, False),
        (FRESH_FOR_S, False),
        (-FRESH_FOR_S, False),
        (FRESH_FOR_S + 1, True),
        (-FRESH_FOR_S - 1, True),
        (10**9, True),
    ],
)
async def test_an_old_or_future_delivery_is_authentic_but_stale(age_s: int, stale: bool) -> None:  # noqa: FBT001
    """F28: told apart from a forgery."""
    signed = await vector_verifier(VECTOR_AT + age_s).verify(VECTOR, VECTOR_BODY)
    assert signed.stale is stale


async def test_a_valid_signature_for_another_account_is_refused_before_any_key_is_fetched() -> None:
    """F26: the account is pinned."""
    published, other = Published(keys=[Signer().jwk()]), Signer(user_id="github|9")
    verifier = verifier_of(published)
    await refused(verifier, other.headers(b"{}"), b"{}")
    assert published.asked == 0
    assert (await verifier_of(published, None).verify(other.headers(b"{}"), b"{}")).user_id


async def test_the_body_of_one_delivery_under_the_headers_of_another_is_refused() -> None:
    published = Published(keys=[Signer().jwk()])
    await refused(verifier_of(published), Signer().headers(b'{"a": 1}'), b'{"a":1}')


async def test_a_flipped_bit_anywhere_in_the_body_is_refused() -> None:
    """F25: each bit of each byte."""
    verifier = vector_verifier()
    for at in range(len(VECTOR_BODY)):
        for bit in range(8):
            body = bytearray(VECTOR_BODY)
            body[at] ^= 1 << bit
            await refused(verifier, VECTOR, bytes(body))


@pytest.mark.parametrize("name", EVERY_HEADER)
async def test_a_flipped_bit_anywhere_in_a_signed_header_is_refused(name: str) -> None:
    """F25: each bit of each header."""
    verifier, value = vector_verifier(), VECTOR[name].encode()
    for at in range(len(value)):
        for bit in range(8):
            changed = bytearray(value)
            changed[at] ^= 1 << bit
            text = changed.decode("latin-1")
            if name.endswith("signature") and text.lower() == VECTOR[name]:
                continue  # the same bytes in upper case
            await refused(verifier, VECTOR | {name: text}, VECTOR_BODY)


ODD = "0123456789abcdefABCDEFx|-+_., \t\n\r\0\x7f\u00e9\u0661\uff11"


@pytest.mark.parametrize("name", EVERY_HEADER)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
async def test_any_edit_of_a_signed_part_is_refused(name: str, data: st.DataObject) -> None:
    """F25: cuts, insertions and swaps."""
    value = VECTOR[name]
    cut = data.draw(st.integers(0, len(value)))
    until = data.draw(st.integers(cut, len(value)))
    new = value[:cut] + data.draw(st.text(ODD, max_size=5)) + value[until:]
    if new.lower() != value.lower():
        await refused(vector_verifier(), VECTOR | {name: new}, VECTOR_BODY)
    body = VECTOR_BODY[:cut] + data.draw(st.binary(max_size=5)) + VECTOR_BODY[until:]
    if body != VECTOR_BODY:
        await refused(vector_verifier(), VECTOR, body)


HOSTILE: Mapping[str, Mapping[str, str | None]] = {
    "request-id": {
        "missing": None,
        "empty": "",
        "a space before": " 764cabcf-b745-4b3e-ae38-1200304cf45b",
        "two lines": "764cabcf\n-b745-4b3e-ae38-1200304cf45b",
        "a newline after": "764cabcf-b745-4b3e-ae38-1200304cf45b\n",
        "too long": "a" * 201,
        "not ASCII": "７64cabcf",  # noqa: RUF001 - the point
        "a list": "764cabcf-b745-4b3e-ae38-1200304cf45b, 764cabcf-b745-4b3e-ae38-1200304cf45b",
    },
    "user-id": {
        "missing": None,
        "empty": "",
        "a newline inside": "github|1234\n1767225600",
        "a newline after": "github|1234\n",
        "a space after": "github|1234 ",
        "another": "github|12345",
        "a list": "github|1234, github|1234",
    },
    "timestamp": {
        "missing": None,
        "empty": "",
        "spaces": " 1767225600 ",
        "a newline after": "1767225600\n",
        "Arabic digits": "١٧٦٧٢٢٥٦٠٠",
        "full-width digits": "１７６７２２５６００",  # noqa: RUF001
        "superscript": "²",
        "10^400": "1" + "0" * 400,
        "13 digits": "1767225600000",
        "negative": "-1",
        "signed": "+1767225600",
        "underscores": "1_767_225_600",
        "a leading zero": "01767225600",
        "a fraction": "1767225600.0",
        "an exponent": "1e9",
        "NaN": "NaN",
        "inf": "inf",
        "hex": "0x69559300",
        "list-like": "[1767225600]",
        "a list": "1767225600, 1767225600",
        "ISO": "2026-01-01T00:00:00Z",
    },
    "signature": {
        "missing": None,
        "empty": "",
        "short": VECTOR["x-fal-webhook-signature"][:-2],
        "odd": VECTOR["x-fal-webhook-signature"][:-1],
        "long": VECTOR["x-fal-webhook-signature"] + "00",
        "zeros": "0" * 128,
        "spaces inside": VECTOR["x-fal-webhook-signature"][:126] + " 7",
        "a newline after": VECTOR["x-fal-webhook-signature"] + "\n",
        "a prefix": "0x" + VECTOR["x-fal-webhook-signature"][:126],
        "not hex": "g" * 128,
        "full-width hex": "ａ" * 128,  # noqa: RUF001
        "base64": base64.b64encode(bytes.fromhex(VECTOR["x-fal-webhook-signature"])).decode(),
        "a list": VECTOR["x-fal-webhook-signature"] + ",x",
        # the same point with the group's order added to its scalar: malleable if not checked
        "not canonical": VECTOR["x-fal-webhook-signature"][:64]
        + (
            int.from_bytes(bytes.fromhex(VECTOR["x-fal-webhook-signature"][64:]), "little")
            + 2**252
            + 27742317777372353535851937790883648493
        )
        .to_bytes(32, "little")
        .hex(),
    },
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(f"x-fal-webhook-{name}", value, id=f"{name}: {case}")
        for name, cases in HOSTILE.items()
        for case, value in cases.items()
    ],
)
async def test_a_hostile_header_is_not_authentic(name: str, value: str | None) -> None:
    """F25, F29: one class of error, and never another."""
    headers = {key: each for key, each in VECTOR.items() if key != name}
    if value is not None:
        headers[name] = value
    await refused(vector_verifier(), headers, VECTOR_BODY)


ANY_VALUE = st.one_of(
    st.text(max_size=300),
    st.from_regex(r"[0-9]{1,14}", fullmatch=True),
    st.from_regex(r"[0-9a-fA-F]{128}", fullmatch=True),
    st.sampled_from(list(VECTOR.values())),
)


@given(
    headers=st.dictionaries(st.sampled_from(EVERY_HEADER), ANY_VALUE), body=st.binary(max_size=300)
)
@example(headers=dict(VECTOR), body=VECTOR_BODY)
@example(headers=dict(VECTOR), body=b"")
@settings(max_examples=150, deadline=None)
async def test_the_verifier_passes_or_raises_not_authentic_and_nothing_else(
    headers: dict[str, str], body: bytes
) -> None:
    """F29: any text for a header."""
    try:
        signed = await vector_verifier().verify(headers, body)
    except NotAuthentic:
        return
    assert headers == VECTOR
    assert body == VECTOR_BODY
    assert not signed.stale


async def test_a_forged_delivery_is_held_against_each_key_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once the set has been fetched anew, and for as long as it is not to be fetched again."""
    verifier = vector_verifier()
    forged = VECTOR | {"x-fal-webhook-signature": "ab" * 64}
    await refused(verifier, forged, VECTOR_BODY)
    tried: list[bytes] = []
    verify = VerifyKey.verify

    def noted(key: VerifyKey, message: bytes, signature: bytes) -> bytes:
        tried.append(message)
        return verify(key, message, signature)

    monkeypatch.setattr(VerifyKey, "verify", noted)
    await refused(verifier, forged, VECTOR_BODY)
    assert len(tried) == 1
