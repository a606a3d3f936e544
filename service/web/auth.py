"""Who is asking: a bearer token, or on reads the session cookie."""

from typing import Final

from starlette.requests import Request

from service.domain.credits import account_name
from service.domain.errors import SignInRequired
from service.wiring import Runtime

COOKIE: Final = "session"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


async def signed_in(request: Request, runtime: Runtime) -> str:
    """The owner's e-mail address. Raises SignInRequired.

    The cookie counts on reads only: a browser sends it along with requests other sites make.
    Without either, in development, who sits at this machine is the development user.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer" or not token:
            raise SignInRequired("send Authorization: Bearer <token>")
        return await runtime.tokens.email(token.strip())
    cookie = request.cookies.get(COOKIE)
    if cookie and request.method in _SAFE_METHODS:
        return await runtime.tokens.email(cookie)
    user = runtime.settings.auth_development_user
    if runtime.settings.development and user and _from_this_machine(request):
        return account_name(user)
    raise SignInRequired("sign in first")


def _from_this_machine(request: Request) -> bool:
    """Asked for under a loopback name, and not by another site's page or through a tunnel."""
    origin = request.headers.get("origin")
    same_site = origin is None or origin == f"{request.url.scheme}://{request.url.netloc}"
    return request.url.hostname in _LOOPBACK and same_site
