"""Seals and derived names: nothing forged passes, and no name can stand for another."""

import dataclasses
import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from service.domain.credits import MAX_GRANT, account_name, check_grant
from service.domain.errors import Invalid, NotAuthentic
from service.domain.inbox import Delivery
from service.domain.policy import JITTER, backoff
from service.domain.seal import Sealed, library_key, owner_prefix, seal, unseal

KEY = b"k" * 32
IDS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)


SEALED = st.builds(Sealed, IDS, st.integers(0, 999_999))
TOKEN = seal(KEY, Sealed("v1", 1))


@given(sealed=SEALED, key=st.binary(min_size=32, max_size=40))
def test_a_sealed_attempt_is_that_attempt(sealed: Sealed, key: bytes) -> None:
    assert unseal(key, seal(key, sealed)) == sealed


@given(one=SEALED, other=SEALED)
def test_two_attempts_never_share_a_token(one: Sealed, other: Sealed) -> None:
    assert (seal(KEY, one) == seal(KEY, other)) == (one == other)


@given(sealed=SEALED, data=st.data())
def test_any_change_of_a_token_is_not_authentic(sealed: Sealed, data: st.DataObject) -> None:
    token = seal(KEY, sealed)
    at = data.draw(st.integers(0, len(token)))
    change = data.draw(st.text(max_size=3))
    until = data.draw(st.integers(at, min(len(token), at + 3)))
    forged = token[:at] + change + token[until:]
    assume(forged != token)
    with pytest.raises(NotAuthentic):
        unseal(KEY, forged)


def test_every_other_last_letter_of_a_token_is_not_authentic() -> None:
    """43 letters hold 258 bits, a MAC 256: four spellings must not pass for one."""
    for letter in string.ascii_letters + string.digits + "-_":
        if letter != TOKEN[-1]:
            with pytest.raises(NotAuthentic):
                unseal(KEY, TOKEN[:-1] + letter)


@given(st.text(max_size=120))
@example("")
@example(".")
@example(TOKEN + "\n")
@example("\n" + TOKEN)
@example(TOKEN.replace(".1.", ".2."))
@example(TOKEN.replace(".1.", ".01."))
@example(TOKEN.replace(".1.", ".\u0661."))
@example(TOKEN.replace("v1.", "v2."))
@example("é.1." + "A" * 43)
@example("v1.1." + "A" * 43)
def test_arbitrary_text_is_not_authentic(token: str) -> None:
    with pytest.raises(NotAuthentic):
        unseal(KEY, token)


def test_another_keys_token_is_not_authentic() -> None:
    with pytest.raises(NotAuthentic):
        unseal(b"K" * 32, TOKEN)


def test_a_seal_is_no_owners_folder() -> None:
    assert owner_prefix(KEY, "v1")[len("users/") :] not in TOKEN
    assert owner_prefix(KEY, "a@b") != owner_prefix(KEY, "a@c") != owner_prefix(b"K" * 32, "a@c")
    assert "a@b" not in owner_prefix(KEY, "a@b")


def test_an_owners_folder_does_not_depend_on_the_spelling_of_the_address() -> None:
    assert owner_prefix(KEY, account_name(" A@B ")) == owner_prefix(KEY, account_name("a@b"))


@given(IDS)
def test_a_library_key_is_a_function_of_the_job_alone(job_id: str) -> None:
    assert library_key("users/0", job_id) == f"users/0/library/{job_id}.mp4"


PARTS = st.fixed_dictionaries(
    {
        "job_id": st.sampled_from(["v1", "v2"]),
        "attempt": st.just(1),
        "request_id": st.sampled_from(["r1", "r2"]),
        "user_id": st.sampled_from(["u1", "u2"]),
        "body": st.sampled_from([b"", b"a", b"b"]),
        "stale": st.booleans(),
    }
)


@given(one=PARTS, other=PARTS)
def test_deliveries_share_an_entry_exactly_when_they_say_the_same(
    one: dict[str, object], other: dict[str, object]
) -> None:
    first, second = Delivery(**one), Delivery(**other)  # type: ignore[arg-type]
    same = all(one[name] == other[name] for name in ("job_id", "request_id", "body", "stale"))
    assert (first.entry_id == second.entry_id) == same


def test_an_entry_id_is_hex_of_fixed_length() -> None:
    made = Delivery(job_id="v", attempt=1, request_id="r", user_id="u", body=b"x", stale=False)
    assert set(made.entry_id) <= set(string.hexdigits)
    assert len(made.entry_id) == len(dataclasses.replace(made, stale=True).entry_id) == 64


@pytest.mark.parametrize(
    ("email", "amount", "fields"),
    [
        ("a@b", 0, ["amount"]),
        ("a@b", -1, ["amount"]),
        ("a@b", MAX_GRANT + 1, ["amount"]),
        ("nobody", 1, ["email"]),
        ("nobody", 0, ["amount", "email"]),
    ],
)
def test_a_grant_that_must_be_a_mistake_is_refused(
    email: str, amount: int, fields: list[str]
) -> None:
    with pytest.raises(Invalid) as raised:
        check_grant(email, amount)
    assert [error.field for error in raised.value.errors] == fields


@pytest.mark.parametrize("amount", [1, MAX_GRANT])
def test_a_grant_within_the_limits_is_allowed(amount: int) -> None:
    check_grant("a@b", amount)


def test_waits_grow_and_the_last_one_repeats() -> None:
    waits = [backoff((1.0, 2.0, 5.0), attempt) for attempt in range(6)]
    for wait, plain in zip(waits, [1, 1, 2, 5, 5, 5], strict=True):
        assert plain * (1 - JITTER) <= wait <= plain * (1 + JITTER)


def test_no_two_waits_are_in_step() -> None:
    assert len({backoff((1.0,), 1) for _ in range(20)}) > 1
