"""What every answer tells browsers, and which other sites' pages may ask."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.sandbox.object_store import ObjectStore
from service.settings import Needs, SettingsError, read_settings
from service.web.headers import SafeHeaders
from tests.web.forms import fresh_email
from tests.world import World, open_world, png

on_shared = pytest.mark.asyncio(loop_scope="package")

APP = "https://app.example.com"
ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


@on_shared
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/frontend/video-client.js", 200),
        ("GET", "/api/credits", 200),
        ("GET", "/api/library", 200),
        ("GET", "/api/templates", 200),
        ("GET", "/health/live", 200),
        ("GET", "/api/templates/video/status?jobId=unknown", 404),
        ("GET", "/api/templates/video/status", 422),
        ("GET", "/nowhere", 404),
        ("PUT", "/api/credits", 405),
        ("POST", "/api/fal/webhook/forged", 401),
    ],
)
async def test_every_answer_says_how_it_is_to_be_handled(
    shared: World, method: str, path: str, status: int
) -> None:
    answer = await shared.http.request(method, path, headers=shared.headers(fresh_email()))
    assert answer.status_code == status
    assert ALWAYS.items() <= answer.headers.items()
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] in {"no-store", "no-cache", "private, no-cache"}
    for each in ("server", "x-powered-by", "access-control-allow-credentials"):
        assert each not in answer.headers
    assert len(answer.headers.get_list("cache-control")) == 1
    assert len(answer.headers.get_list("content-security-policy")) == 1


async def _breaks(_: Request) -> Response:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("tls", [True, False])
async def test_the_answer_to_a_bug_has_them_too_and_tls_is_asked_for_where_there_is_some(
    tls: bool,  # noqa: FBT001
) -> None:
    app = Starlette(routes=[Route("/", _breaks)])
    guarded = SafeHeaders(app.build_middleware_stack(), tls=tls)
    transport = httpx.ASGITransport(guarded, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://video.example") as client:
        answer = await client.get("/")
    assert answer.status_code == 500
    assert ALWAYS.items() <= answer.headers.items()
    assert answer.headers.get("strict-transport-security") == ("max-age=31536000" if tls else None)


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def open_to_app(s3: ObjectStore) -> AsyncIterator[World]:
    async with open_world(s3, CORS_ORIGINS=f"{APP}, https://other.example") as opened:
        yield opened


@on_shared
@pytest.mark.parametrize("origin", [APP, "https://evil.example", "null"])
async def test_no_other_site_is_let_in_unless_it_is_named(shared: World, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (
        await shared.http.options("/api/templates/video", headers=asked),
        await shared.http.get("/api/credits", headers={**shared.headers(), "Origin": origin}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@on_shared
async def test_a_named_site_orders_and_reads_with_a_bearer_token(open_to_app: World) -> None:
    http, email = open_to_app.http, fresh_email()
    asked = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    preflight = await http.options("/api/templates/video", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == APP
    assert "access-control-allow-credentials" not in preflight.headers
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert {"authorization", "idempotency-key"} <= {each.strip() for each in allowed.split(",")}

    await open_to_app.grant(100, email)
    answer = await http.post(
        "/api/templates/video",
        headers=open_to_app.headers(email) | {"Origin": APP},
        data={"data": '{"templateSlug":"night-life-roller","variables":{"BRAND":"B"}}'},
        files={"startImage": ("a.png", png(), "image/png")},
    )
    assert answer.status_code == 202
    assert answer.headers["access-control-allow-origin"] == APP
    assert ALWAYS.items() <= answer.headers.items()


@on_shared
@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{APP}.evil.example", f"{APP}:8443", "http://app.example.com"],
)
async def test_a_site_that_only_looks_like_it_is_not(open_to_app: World, origin: str) -> None:
    answer = await open_to_app.http.get(
        "/api/credits", headers=open_to_app.headers() | {"Origin": origin}
    )
    assert "access-control-allow-origin" not in answer.headers


@on_shared
async def test_a_named_sites_page_does_not_write_with_our_cookie(open_to_app: World) -> None:
    token = open_to_app.headers()["Authorization"].split()[1]
    answer = await open_to_app.http.post(
        "/api/templates/video/cancel",
        json={"jobId": "v1"},
        headers={"Cookie": f"session={token}", "Origin": APP},
    )
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "value",
    ["*", "app.example.com", "https://app.example.com/", "https://a.example/x", "ftp://a.example"],
)
def test_an_origin_is_a_scheme_and_a_host(value: str) -> None:
    environment = {"SURREALDB_URL": "mem://", "ENVIRONMENT": "development", "CORS_ORIGINS": value}
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        read_settings(environment, Needs.DATABASE)


def test_a_site_without_tls_is_for_development_only() -> None:
    given = {"SURREALDB_URL": "mem://", "CORS_ORIGINS": "http://app.example.com"}
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        read_settings(given, Needs.DATABASE)
    settings = read_settings({**given, "ENVIRONMENT": "development"}, Needs.DATABASE)
    assert settings.allowed_origins == ("http://app.example.com",)
