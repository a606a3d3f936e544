"""Who is asking: a bearer token, or on reads the session cookie."""

from typing import Final

from starlette.requests import Request

from service.domain.errors import SignInRequired
from service.wiring import Runtime

COOKIE: Final = "session"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


async def signed_in(request: Request, runtime: Runtime) -> str:
    """The owner's e-mail address. Raises SignInRequired.

    The cookie counts on reads only: a browser sends it along with requests other sites make.
    Without either, in development, everyone is the development user.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer" or not token:
            raise SignInRequired("send Authorization: Bearer <token>")
        return await runtime.tokens.email(token.strip())
    cookie = request.cookies.get(COOKIE)
    if cookie and request.method in _SAFE_METHODS:
        return await runtime.tokens.email(cookie)
    if runtime.settings.development and runtime.settings.auth_development_user:
        return runtime.settings.auth_development_user
    raise SignInRequired("sign in first")
