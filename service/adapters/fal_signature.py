"""Proves that a delivery comes from fal, is about our account, and is fresh.

fal signs request id, user id, timestamp and the SHA-256 of the raw body with Ed25519. A valid
signature alone only says "fal sent this": any customer of fal can aim a job at our address. So
the user id is pinned where it is known, and the URL's token proves the job.
"""

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from service.adapters.key_set import KeySet
from service.domain.errors import Lacks, NotAuthentic
from service.ports import Signed

FRESH_FOR_S: Final = 300  # fal's own rule

_PREFIX: Final = "x-fal-webhook-"
_VISIBLE: Final = re.compile(r"^[\x21-\x7e]{1,200}$")  # no newline: they separate the signed parts
_TIMESTAMP: Final = re.compile(r"^[0-9]{1,12}$")
_SIGNATURE: Final = re.compile(r"^[0-9a-fA-F]{128}$")
_KEY_BYTES: Final = 32


class FalVerifier:
    """Implements ports.DeliveryVerifier."""

    def __init__(
        self,
        keys: KeySet[VerifyKey],
        *,
        user_id: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._user_id = user_id
        self._clock = clock

    async def verify(self, headers: Mapping[str, str], body: bytes) -> Signed:
        """What the headers prove. Raises NotAuthentic; Transient when no key can be had.

        Syntax and account are checked before any key is fetched, so that garbage is cheap.
        """
        request_id = _header(headers, "request-id", _VISIBLE)
        user_id = _header(headers, "user-id", _VISIBLE)
        timestamp = _header(headers, "timestamp", _TIMESTAMP)
        signature = bytes.fromhex(_header(headers, "signature", _SIGNATURE))
        if self._user_id is not None and user_id != self._user_id:
            raise NotAuthentic("the delivery is signed for another fal account", Lacks.ACCOUNT)
        message = signed_message(request_id, user_id, timestamp, body)
        keys = await self._keys.current()
        if not _fits(keys, message, signature):
            newer = await self._keys.after_miss()
            # Trying the same keys again would double what a forged delivery costs.
            if newer is keys or not _fits(newer, message, signature):
                raise NotAuthentic("the signature fits none of fal's keys")
        stale = abs(self._clock() - int(timestamp)) > FRESH_FOR_S
        return Signed(request_id=request_id, user_id=user_id, stale=stale)


def signed_message(request_id: str, user_id: str, timestamp: str, body: bytes) -> bytes:
    """The bytes fal signs, from the header values as they stand and the raw body."""
    digest = hashlib.sha256(body).hexdigest()
    return f"{request_id}\n{user_id}\n{timestamp}\n{digest}".encode()


def parse_ed25519(jwk: Mapping[str, Any]) -> VerifyKey | None:
    """A key of fal's set, or None if it is of another kind. Padding is optional."""
    match jwk:
        case {"kty": "OKP", "crv": "Ed25519", "x": str(x)}:
            try:
                raw = base64.urlsafe_b64decode(x.rstrip("=") + "=" * (-len(x.rstrip("=")) % 4))
            except (binascii.Error, ValueError):
                return None
            return VerifyKey(raw) if len(raw) == _KEY_BYTES else None
        case _:
            return None


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    value = headers.get(_PREFIX + name, "")
    if not form.fullmatch(value):
        raise NotAuthentic(f"the header {_PREFIX}{name} is missing or malformed", Lacks.HEADER)
    return value


def _fits(keys: Sequence[VerifyKey], message: bytes, signature: bytes) -> bool:
    for key in keys:
        try:
            key.verify(message, signature)
        except BadSignatureError:
            continue
        return True
    return False
