"""Who is asking: a bearer token, or the session cookie of a browser."""

import re
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from service.adapters.tokens import SignIn
from service.domain.credits import account_name
from service.domain.errors import SignInRequired
from service.wiring import Runtime

COOKIE: Final = "session"
_LOOPBACK: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
# What proxies and tunnels add, whatever they make of Host.
_FORWARDED: Final = frozenset({"forwarded", "via", "cf-connecting-ip", "cf-ray", "x-real-ip"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


async def signed_in(request: Request, runtime: Runtime) -> str:
    """The owner's e-mail address. Raises SignInRequired."""
    return (await sign_in_of(request, runtime)).email


async def sign_in_of(request: Request, runtime: Runtime) -> SignIn:
    """Who asks, and until when that is known. Raises SignInRequired.

    The cookie counts on reads, and on writes that our own page makes: a browser sends it along
    with requests of other sites as well, and names the site that asks in Origin.
    Without either, in development, who sits at this machine is the development user.
    """
    if token := bearer_token(request):
        return await runtime.tokens.sign_in(token)
    cookie = request.cookies.get(COOKIE)
    if cookie:
        if request.method not in _SAFE_METHODS and not from_own_page(request):
            raise SignInRequired("a write by cookie needs the Origin of this site")
        return await runtime.tokens.sign_in(cookie)
    user = runtime.settings.auth_development_user
    if runtime.settings.development and user and from_this_machine(request):
        return SignIn(email=account_name(user))
    raise SignInRequired("sign in first")


def bearer_token(request: Request) -> str | None:
    """The token of the Authorization header, if there is one. Raises SignInRequired."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        return None
    if scheme.lower() != "bearer" or not token.strip():
        raise SignInRequired("send Authorization: Bearer <token>")
    return token.strip()


def from_own_page(request: Request) -> bool:
    """Whether a page of this host asks. A proxy may end TLS, so the scheme says nothing here."""
    host = request.headers.get("host")
    try:
        origin = urlsplit(request.headers.get("origin", ""))
    except ValueError:  # no address at all
        return False
    return host is not None and origin.netloc == host


def from_this_machine(request: Request) -> bool:
    """Asked for under a loopback name, and not by another site's page or through a tunnel.

    The Host header as it was sent: Starlette reads a malformed one as the socket's own address.
    """
    if any(name in _FORWARDED or name.startswith("x-forwarded-") for name in request.headers):
        return False
    same_site = "origin" not in request.headers or from_own_page(request)
    return bool(_LOOPBACK.fullmatch(request.headers.get("host", ""))) and same_site
