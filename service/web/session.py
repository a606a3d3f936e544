"""The session cookie of the page: a user's own token, out of reach of scripts."""

from datetime import UTC, datetime
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.domain.errors import SignInRequired
from service.web.answers import SessionView
from service.web.auth import COOKIE, bearer_token, sign_in_of
from service.web.requests import runtime_of
from service.web.views import instant


async def read_session(request: Request) -> Response:
    """GET /api/session: who is signed in, and until when."""
    sign_in = await sign_in_of(request, runtime_of(request))
    expires = sign_in.expires_at
    answer: SessionView = {
        "email": sign_in.email,
        "expiresAt": instant(expires) if expires else None,
    }
    return JSONResponse(answer)


async def open_session(request: Request) -> Response:
    """POST /api/session: a bearer token becomes the cookie, for as long as the token is good."""
    runtime = runtime_of(request)
    token = bearer_token(request)
    if token is None:
        raise SignInRequired("send Authorization: Bearer <token>")
    expires = (await runtime.tokens.sign_in(token)).expires_at
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    answer.set_cookie(
        COOKIE,
        token,
        max_age=int((expires - datetime.now(UTC)).total_seconds()) if expires else None,
        secure=not runtime.settings.development,
        httponly=True,
        samesite="strict",
    )
    return answer


async def close_session(request: Request) -> Response:
    """DELETE /api/session: the cookie is gone; a repeat finds none. It needs no sign-in."""
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    secure = not runtime_of(request).settings.development
    answer.delete_cookie(COOKIE, secure=secure, httponly=True, samesite="strict")
    return answer
