"""What every answer tells browsers: guess no types, frame nothing, keep nothing, use TLS."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HSTS_S: Final = 365 * 24 * 3600

# Where a route says something else, its word counts.
_DEFAULTS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # JSON is no page: whatever a browser is talked into showing, it loads and runs nothing.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    # What is said to one person is in no cache's keeping.
    (b"cache-control", b"no-store"),
)
_TLS_ONLY: Final = (b"strict-transport-security", f"max-age={HSTS_S}".encode())


class SafeHeaders:
    """Adds what an answer does not say itself. `tls`: the outside reaches us by https only."""

    def __init__(self, app: ASGIApp, *, tls: bool) -> None:
        self._app = app
        self._defaults = (*_DEFAULTS, _TLS_ONLY) if tls else _DEFAULTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = message["headers"]
                names = {name.lower() for name, _ in said}
                added = [each for each in self._defaults if each[0] not in names]
                message = {**message, "headers": [*said, *added]}
            await send(message)

        await self._app(scope, receive, send_with_headers)
