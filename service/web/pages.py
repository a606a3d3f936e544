"""The designer page and the client, as the files they are: no build step, nobody else's code."""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from service.settings import Settings
from service.web.requests import runtime_of

FRONTEND: Final = Path(__file__).parents[1] / "frontend"
# Asked about each time, answered 304 mostly: a new release is seen at once.
REVALIDATE: Final = "no-cache"


async def page(request: Request) -> Response:
    """GET /: the designer page."""
    settings = runtime_of(request).settings
    return FileResponse(
        FRONTEND / "index.html",
        headers={
            "Content-Security-Policy": content_policy(settings),
            "Cache-Control": REVALIDATE,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        },
    )


def content_policy(settings: Settings) -> str:
    """What the page may load: its own files, and media from our bucket and from fal's CDN."""
    bucket = [
        _origin(each) for each in (settings.r2_endpoint_url, settings.r2_public_base_url) if each
    ]
    cdn = [f"https://{name}" for host in settings.result_hosts for name in (host, f"*.{host}")]
    loopback = ["http://127.0.0.1:*", "http://localhost:*"] if settings.development else []
    images = ["'self'", "blob:", *bucket, *loopback]
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            f"img-src {' '.join(images)}",
            f"media-src {' '.join([*images, *cdn])}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


class Frontend(StaticFiles):
    """The page's files, which other sites may import as well: nothing in them is anybody's."""

    def __init__(self) -> None:
        super().__init__(directory=FRONTEND)

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = REVALIDATE
        answer.headers["Access-Control-Allow-Origin"] = "*"
        return answer


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
