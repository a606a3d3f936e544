"""The page that shows the document at /openapi.json: our own files, nothing of anybody else."""

from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from service.web.pages import FRONTEND, REVALIDATE

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


async def read_docs(_: Request) -> Response:
    """GET /docs: how to use the interface."""
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": REVALIDATE,
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return FileResponse(FRONTEND / "docs.html", headers=headers)
