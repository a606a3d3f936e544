"""The operators' door over HTTP: their page, their sign-in, and every operation by its name.

Without OPS_TOKEN there is nothing here: everything under /ops is a 404.
"""

from contextlib import nullcontext
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from service.domain.errors import FieldError, Invalid, ServiceError, SignInRequired
from service.domain.operators import Door
from service.operations.base import Context
from service.web.auth import bearer_token, from_own_page
from service.web.bodies import read_body
from service.web.operating import answer_operation
from service.web.ops_sign_in import COOKIE, SESSION_S, OpsSignIn
from service.web.pages import FRONTEND, REVALIDATE
from service.web.problems import error_answer
from service.web.requests import runtime_of
from service.wiring import Runtime

PATH: Final = "/ops"
MAX_SIGN_IN_BYTES: Final = 4 * 1024
# The page loads its own files and asks its own API; a raw delivery on it is text, whatever it says.
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


class _Token(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    token: Annotated[str, Field(min_length=1, max_length=1024)]


def ops_routes() -> list[BaseRoute]:
    return [
        Route(PATH, page, methods=["GET"]),
        Route(f"{PATH}/session", open_session, methods=["POST"]),
        Route(f"{PATH}/session", close_session, methods=["DELETE"]),
        Route(f"{PATH}/api/{{name}}", run_operation, methods=["POST"]),
    ]


def ops_sign_in(runtime: Runtime) -> OpsSignIn | None:
    """What judges operators; none without OPS_TOKEN."""
    token = runtime.settings.ops_token
    return None if token is None else OpsSignIn(token.get_secret_value())


async def page(request: Request) -> Response:
    """GET /ops: the operators' page. It shows nothing before somebody has signed in."""
    _sign_in_of(request)
    return FileResponse(
        FRONTEND / "ops.html",
        headers={
            "Content-Security-Policy": CONTENT_POLICY,
            "Cache-Control": REVALIDATE,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        },
    )


async def open_session(request: Request) -> Response:
    """POST /ops/session {token}: the cookie, which says until when the token was known."""
    sign_in = _sign_in_of(request)
    try:
        body = await read_body(request, MAX_SIGN_IN_BYTES)
        sign_in.check_token(_Token.model_validate_json(body).token)
    except ValidationError:
        return _refusal(Invalid([FieldError("token", "is missing: send it as JSON")]))
    except ServiceError as error:
        return _refusal(error)
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    secure = not runtime_of(request).settings.development
    answer.set_cookie(
        COOKIE,
        sign_in.new_cookie(),
        max_age=SESSION_S,
        path=PATH,
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return answer


async def close_session(request: Request) -> Response:
    """DELETE /ops/session: the cookie is gone; a repeat finds none. It needs no sign-in."""
    _sign_in_of(request)
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    secure = not runtime_of(request).settings.development
    answer.delete_cookie(COOKIE, path=PATH, secure=secure, httponly=True, samesite="strict")
    return answer


async def run_operation(request: Request) -> Response:
    """POST /ops/api/{name}: any operation, for whoever has the token or the cookie."""
    sign_in = _sign_in_of(request)
    try:
        _check(request, sign_in)
    except ServiceError as error:
        return _refusal(error)
    return await answer_operation(context_of(runtime_of(request), Door.PAGE), request)


def context_of(runtime: Runtime, door: Door) -> Context:
    """What operations work with inside of a web process."""
    return Context(
        store=runtime.store,
        door=door,
        open_bucket=lambda: nullcontext(runtime.services.bucket),
        allow_retired_providers=runtime.settings.allow_retired_providers,
    )


def _sign_in_of(request: Request) -> OpsSignIn:
    sign_in: OpsSignIn | None = request.app.state.ops_sign_in
    if sign_in is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return sign_in


def _check(request: Request, sign_in: OpsSignIn) -> None:
    """Raises SignInRequired or TooOften. A cookie counts only for this site's own page."""
    cookie = request.cookies.get(COOKIE)
    # A sign-in in front of this one sends a header of its own, of another scheme.
    if token := None if cookie and _is_basic(request) else bearer_token(request):
        sign_in.check_token(token)
        return
    if not cookie:
        raise SignInRequired("sign in first")
    if not from_own_page(request):
        raise SignInRequired("an operation by cookie needs the Origin of this site")
    sign_in.check_cookie(cookie)


def _is_basic(request: Request) -> bool:
    return request.headers.get("authorization", "").lower().startswith("basic ")


def _refusal(error: ServiceError) -> Response:
    return error_answer(error, str(error))
