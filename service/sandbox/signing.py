"""fal's webhook signature: Ed25519 over four lines, keys published as a JWKS."""

import hashlib
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nacl.signing import SigningKey, VerifyKey

from service.sandbox.faults import Fault, FaultPlan
from service.sandbox.records import Json

STALE_S: Final = 600
OTHER_USER: Final = "sandbox|another-account"
HUGE_JWKS_BYTES: Final = 8 * 1024 * 1024


class JwksFault(StrEnum):
    """How the key set can fail; `slow` never answers, the rest answer at once."""

    DOWN = "down"
    SLOW = "slow"
    HUGE = "huge"
    WRONG_KTY = "wrong_kty"
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """What one webhook request carries."""

    body: bytes
    headers: dict[str, str]


class KeyRing:
    """The signing key in use and the public keys on show."""

    def __init__(self, seed: bytes | None = None) -> None:
        self._current = SigningKey(seed) if seed else SigningKey.generate()
        self._stray = SigningKey.generate()
        self._published: list[VerifyKey] = [self._current.verify_key]

    def rotate(self, *, keep_old: bool) -> None:
        """Sign with a new key from now on; the old one stays listed only if asked."""
        self._current = SigningKey.generate()
        kept = self._published if keep_old else []
        self._published = [self._current.verify_key, *kept]

    def jwks(self, fault: JwksFault | None = None) -> Json:
        """The key set, `x` unpadded as RFC 8037 wants it; or one broken as `fault` says."""
        kty = "RSA" if fault is JwksFault.WRONG_KTY else "OKP"
        keys = [] if fault is JwksFault.EMPTY else [_jwk(key, kty) for key in self._published]
        padding = {"padding": "x" * HUGE_JWKS_BYTES} if fault is JwksFault.HUGE else {}
        return {"keys": keys, **padding}

    def seal(self, request_id: str, user_id: str, body: bytes, plan: FaultPlan) -> Envelope:
        """Sign `body` as of now, or wrongly in the way the plan asks."""
        key = self._stray if Fault.WRONG_KEY in plan else self._current
        signer = OTHER_USER if Fault.OTHER_ACCOUNT in plan else user_id
        timestamp = int(time.time()) - (STALE_S if Fault.STALE in plan else 0)
        headers = {
            "Content-Type": "application/json",
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": signer,
            "X-Fal-Webhook-Timestamp": str(timestamp),
            "X-Fal-Webhook-Signature": signature(key, request_id, signer, timestamp, body=body),
        }
        sent = _tampered(body) if Fault.TAMPER in plan else body
        return Envelope(body=sent, headers=headers)


def signature(
    key: SigningKey, request_id: str, user_id: str, timestamp: int, *, body: bytes
) -> str:
    """Lower-case hex of the signature over the lines that fal documents."""
    lines = (request_id, user_id, str(timestamp), hashlib.sha256(body).hexdigest())
    return key.sign("\n".join(lines).encode()).signature.hex()


def _jwk(key: VerifyKey, kty: str) -> Json:
    x = urlsafe_b64encode(bytes(key)).rstrip(b"=").decode()
    return {"kty": kty, "crv": "Ed25519", "x": x}


def _tampered(body: bytes) -> bytes:
    """The body with the case of a letter changed: still JSON, no longer what was signed."""
    at = body.index(b"status")
    return body[:at] + b"S" + body[at + 1 :]
