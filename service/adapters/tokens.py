"""Who a user is: a JSON Web Token, signed with our secret or by an issuer's key set."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from service.adapters.key_set import Jwk, KeySet
from service.domain.credits import account_name
from service.domain.errors import SignInRequired

REMEMBERED_S: Final = 30.0
MAX_REMEMBERED: Final = 10_000
LEEWAY_S: Final = 30  # clocks of issuer and service differ a little
# Pinned: a token never chooses how it is checked. No symmetric algorithm with a public key set.
_KEY_SET_ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSettings:
    """What a token must satisfy; `secret` (HS256) or `keys`, never both."""

    secret: str | None = field(default=None, repr=False)
    keys: KeySet[jwt.PyJWK] | None = field(default=None, repr=False)
    audience: str | None = None
    issuer: str | None = None
    # A token without an end is a password that nobody can change.
    must_expire: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """Who somebody is, and until when."""

    email: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Passed:
    """A token that was checked, by which keys, and until when nobody does so again (monotonic)."""

    sign_in: SignIn
    keys: Sequence[jwt.PyJWK] | None
    until: float

    def holds(self) -> bool:
        ends = self.sign_in.expires_at
        in_time = ends is None or time.time() < ends.timestamp() + LEEWAY_S
        return in_time and time.monotonic() < self.until


class Tokens:
    """Checks tokens, and remembers for a moment those that passed: a page asks every second."""

    def __init__(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._passed: OrderedDict[str, _Passed] = OrderedDict()

    async def sign_in(self, token: str) -> SignIn:
        """Whose valid token this is. Raises SignInRequired, or Transient for keys."""
        # Found to be good by keys that the issuer has replaced, it is looked at again.
        keys = await self._current_keys()
        passed = self._passed.get(token)
        if passed is not None and passed.keys is keys and passed.holds():
            return passed.sign_in
        self._passed.pop(token, None)
        sign_in = await self._checked(token)
        keys = await self._current_keys()  # another set, if the token made us fetch one
        self._passed[token] = _Passed(sign_in, keys, time.monotonic() + REMEMBERED_S)
        if len(self._passed) > MAX_REMEMBERED:
            self._passed.popitem(last=False)
        return sign_in

    async def _current_keys(self) -> Sequence[jwt.PyJWK] | None:
        return await self._settings.keys.current() if self._settings.keys else None

    async def _checked(self, token: str) -> SignIn:
        claims = await self._claims(token)
        email, expires = claims.get("email"), claims.get("exp")
        if not isinstance(email, str) or "@" not in email:
            raise SignInRequired("the token has no email claim")
        return SignIn(
            email=account_name(email),
            expires_at=None if expires is None else _instant(expires),
        )

    async def _claims(self, token: str) -> dict[str, Any]:
        settings = self._settings
        if settings.secret is not None:
            return self._decode(token, settings.secret, ("HS256",))
        if settings.keys is None:
            raise SignInRequired("no sign-in is configured")
        key = _matching(await settings.keys.current(), token)
        key = key or _matching(await settings.keys.after_miss(), token)
        if key is None:
            raise SignInRequired("the token is signed with an unknown key")
        # The key says how it is used, never the token: an RSA key checks RS256 and nothing else.
        usable = [each for each in _KEY_SET_ALGORITHMS if each == key.algorithm_name]
        return self._decode(token, key.key, usable)

    def _decode(self, token: str, key: Any, algorithms: Sequence[str]) -> dict[str, Any]:
        settings = self._settings
        try:
            return jwt.decode(
                token,
                key,
                algorithms=list(algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=LEEWAY_S,
                # exp and nbf are checked where the issuer sets them; aud only if configured.
                options={
                    "verify_aud": settings.audience is not None,
                    "require": ["exp"] if settings.must_expire else [],
                },
            )
        except jwt.ExpiredSignatureError as error:
            raise SignInRequired("the sign-in has expired; sign in again") from error
        except (jwt.InvalidTokenError, TypeError) as error:
            raise SignInRequired("the sign-in is not valid") from error


def _instant(numeric_date: float) -> datetime:
    try:
        return datetime.fromtimestamp(int(numeric_date), UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise SignInRequired("the token expires at no date there is") from error


def parse_public_key(jwk: Jwk) -> jwt.PyJWK | None:
    """A public signature key of the issuer's set, or None if it is of another kind."""
    if jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        return jwt.PyJWK(dict(jwk))
    except (jwt.PyJWTError, TypeError, ValueError):
        return None


def _matching(keys: Sequence[jwt.PyJWK], token: str) -> jwt.PyJWK | None:
    try:
        wanted = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError as error:
        raise SignInRequired("the sign-in is not valid") from error
    if wanted is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.key_id == wanted), None)
