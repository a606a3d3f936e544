"""The operator's sign-in: a token, or a cookie that proves it was shown, for twelve hours."""

import hashlib
import hmac
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from service.domain.errors import SignInRequired, TooOften
from service.domain.seal import derived_key

COOKIE: Final = "ops"
SESSION_S: Final = 12 * 3600
FAILURES: Final = 10  # in a minute and in all; a token of 32 characters is not guessed so
PERIOD_S: Final = 60


class OpsSignIn:
    """Judges tokens and cookies for one OPS_TOKEN. Another token ends all sessions.

    Wrong tokens are counted for everybody together, since an address proves nobody; whoever has a
    cookie is not slowed by them.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._token = hashlib.sha256(token.encode()).digest()
        self._key = derived_key(token.encode(), b"ops-session")
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=FAILURES)

    def check_token(self, token: str) -> None:
        """Return if that is the token. Raises SignInRequired, and TooOften after many wrong ones.

        Digests are compared, so that not even the token's length takes its time.
        """
        now = self._clock()
        wait_s = self._failures[0] + PERIOD_S - now if len(self._failures) == FAILURES else 0.0
        if wait_s > 0:
            raise TooOften("too many wrong tokens; wait a minute", retry_after_s=int(wait_s) + 1)
        if not hmac.compare_digest(hashlib.sha256(token.encode()).digest(), self._token):
            self._failures.append(now)
            raise SignInRequired("that is not the operators' token")

    def new_cookie(self) -> str:
        return self._cookie(int(self._clock()) + SESSION_S)

    def check_cookie(self, cookie: str) -> None:
        """Return if this was made here and is still good. Raises SignInRequired."""
        ends = cookie.partition(".")[0]
        known = ends.isascii() and ends.isdigit() and len(ends) <= 12  # noqa: PLR2004 - digits
        if not known or not hmac.compare_digest(cookie.encode(), self._cookie(int(ends)).encode()):
            raise SignInRequired("sign in first")
        if int(ends) <= self._clock():
            raise SignInRequired("the sign-in has expired; sign in again")

    def _cookie(self, ends: int) -> str:
        mac = hmac.new(self._key, str(ends).encode(), hashlib.sha256).hexdigest()
        return f"{ends}.{mac}"
