"""What the handlers of one sandbox share."""

from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.sandbox.fault_book import FaultBook
from service.sandbox.queue import Queue
from service.sandbox.settings import SandboxSettings
from service.sandbox.signing import JwksFault, KeyRing


@dataclass(kw_only=True, slots=True)
class Stage:
    settings: SandboxSettings
    base_url: str
    queue: Queue
    keys: KeyRing
    totals: Counter[str]
    book: FaultBook = field(default_factory=FaultBook)
    jwks_fault: JwksFault | None = None
    clock_ahead_s: float = 0.0


def stage(request: Request) -> Stage:
    found = request.app.state.stage
    assert isinstance(found, Stage), "the app is built by fal.app()"
    return found


def unauthorised(request: Request) -> Response | None:
    """The 401 of fal unless the request carries `Authorization: Key …` with an accepted key."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    expected = stage(request).settings.fal_key
    if scheme == "Key" and key.strip() and expected in {None, key.strip()}:
        return None
    return JSONResponse({"detail": "invalid key credentials"}, HTTPStatus.UNAUTHORIZED)
