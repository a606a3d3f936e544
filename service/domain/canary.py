"""The canary: a delivery that the service sends to itself, by the address that fal is given.

Its token is sealed like a job's, with a key of its own, and lives for minutes. The answer says
what arrived and is sealed too, so that no stranger's server, and no proxy that answers by itself,
can pass for ours.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from service.domain.errors import NotAuthentic
from service.domain.seal import derived_key

KIND: Final = "canary"
LIFETIME_S: Final = 300  # from its sending to its arrival, a clock that is a little wrong included
# What has to arrive as it was sent: fal signs over all of these but the type.
HEADERS: Final = (
    "content-type",
    "x-fal-webhook-request-id",
    "x-fal-webhook-user-id",
    "x-fal-webhook-timestamp",
    "x-fal-webhook-signature",
)

# A job's token has three parts, whatever its job is called.
_TOKEN_DOTS: Final = 3
_TOKEN: Final = re.compile(r"canary\.([0-9a-f]{32})\.([0-9]{1,12})\.([0-9a-f]{64})")


class Outcome(StrEnum):
    """What a canary's flight proves about the way to our webhook."""

    PASSED = "passed"
    WRONG = "wrong"  # somebody answered, and not as we do: fal will fare no better
    UNKNOWN = "unknown"  # nobody answered, or nobody who could be ours: proves nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What came of a flight: what was seen, and in one sentence what to mend.

    `absent`: nobody is there to answer, which is no fault of the way.
    """

    outcome: Outcome
    seen: str
    fix: str = ""
    absent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """What a canary's request looked like where it arrived."""

    sha256: str
    length: int
    slash: bool  # whether the path ended in one
    headers: Mapping[str, str]  # those of HEADERS that were there


def mint(key: bytes, nonce: str, now_s: float) -> str:
    """A token for one flight; `nonce` is 32 random hexadecimal digits."""
    text = f"{KIND}.{nonce}.{int(now_s) + LIFETIME_S}"
    return f"{text}.{_mac(key, b'canary', text)}"


def is_canary(token: str) -> bool:
    """Whether a webhook's token has the form of a canary's. It may be forged all the same."""
    return token.startswith(f"{KIND}.") and token.count(".") == _TOKEN_DOTS


def check(key: bytes, token: str, now_s: float) -> None:
    """Return if we sealed this token and it has not expired. Raises NotAuthentic."""
    match = _TOKEN.fullmatch(token)
    text = token.rpartition(".")[0]
    if match is None or not hmac.compare_digest(match[3], _mac(key, b"canary", text)):
        raise NotAuthentic("the webhook address carries no valid token")
    if now_s > int(match[2]):
        raise NotAuthentic("the canary has expired")


def arrival(body: bytes, *, path: str, headers: Mapping[str, str]) -> Arrival:
    """What is answered about a request."""
    return Arrival(
        sha256=hashlib.sha256(body).hexdigest(),
        length=len(body),
        slash=path.endswith("/"),
        headers={name: headers[name] for name in HEADERS if name in headers},
    )


def sealed_answer(key: bytes, token: str, seen: Arrival) -> dict[str, Any]:
    """The answer's JSON: what arrived, sealed together with the token it came by."""
    report = {
        "sha256": seen.sha256,
        "length": seen.length,
        "slash": seen.slash,
        "headers": dict(seen.headers),
    }
    return {"canary": report, "mac": _mac(key, b"canary answer", _sealed_text(token, report))}


def read_answer(key: bytes, token: str, answer: Any) -> Arrival | None:
    """What arrived, if this answer to that token is ours; None for anybody else's."""
    match answer:
        case {"canary": dict(report), "mac": str(mac)} if mac.isascii():
            if not hmac.compare_digest(
                mac, _mac(key, b"canary answer", _sealed_text(token, report))
            ):
                return None
            return Arrival(
                sha256=str(report["sha256"]),
                length=int(report["length"]),
                slash=bool(report["slash"]),
                headers=dict(report["headers"]),
            )
        case _:
            return None


def _sealed_text(token: str, report: Mapping[str, Any]) -> str:
    """One form for what is sealed, however a proxy may write the same JSON."""
    return f"{token}\n{json.dumps(report, sort_keys=True, separators=(',', ':'))}"


def _mac(key: bytes, use: bytes, text: str) -> str:
    return hmac.new(derived_key(key, use), text.encode(), hashlib.sha256).hexdigest()
