"""The page's sign-in: a cookie that scripts cannot read and other sites cannot use."""

import time
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import pytest

from service.sandbox.object_store import ObjectStore
from tests.web.forms import check_problem, fresh_email
from tests.world import World, open_world, token

on_shared = pytest.mark.asyncio(loop_scope="package")

SESSION = "/api/session"


def cookie_of(answer: httpx.Response) -> "Morsel[str]":
    return SimpleCookie(answer.headers["set-cookie"])["session"]


def by_cookie(email: str, **headers: str) -> dict[str, str]:
    return {"Cookie": f"session={token(email)}"} | headers


async def order(world: World, headers: dict[str, str]) -> httpx.Response:
    """A write: refused for its form, if it gets that far."""
    return await world.http.post("/api/templates/video", headers=headers)


@on_shared
async def test_a_bearer_token_becomes_a_cookie_that_reads(shared: World) -> None:
    email, expires = fresh_email(), int(time.time()) + 1000
    signed = {"Authorization": f"Bearer {token(email, exp=expires)}"}
    answer = await shared.http.post(SESSION, headers=signed)
    assert (answer.status_code, answer.content) == (204, b"")
    cookie = cookie_of(answer)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert 990 <= int(cookie["max-age"]) <= 1000
    found = await shared.http.get(SESSION, headers={"Cookie": f"session={cookie.value}"})
    assert found.json()["email"] == email
    assert found.headers["cache-control"] == "no-store"


@on_shared
async def test_a_sign_in_says_until_when_it_is_good(shared: World) -> None:
    headers = {"Authorization": f"Bearer {token(exp=2_000_000_000)}"}
    found = (await shared.http.get(SESSION, headers=headers)).json()
    assert found == {"email": "ana@example.com", "expiresAt": "2033-05-18T03:33:20.000Z"}


@on_shared
@pytest.mark.parametrize("header", [None, "Bearer", "Basic x", "Bearer nonsense"])
async def test_no_session_begins_without_a_good_token(shared: World, header: str | None) -> None:
    headers = by_cookie(fresh_email())  # a cookie is no reason to renew the cookie
    answer = await shared.http.post(
        SESSION, headers=headers | ({"Authorization": header} if header else {})
    )
    check_problem(answer, 401, "sign_in_required")
    assert "set-cookie" not in answer.headers


@on_shared
async def test_signing_out_takes_the_cookie_away(shared: World) -> None:
    answer = await shared.http.delete(SESSION)
    assert answer.status_code == 204
    cookie = cookie_of(answer)
    assert (cookie.value, cookie["max-age"], cookie["httponly"]) == ("", "0", True)


@on_shared
@pytest.mark.parametrize(
    "origin",
    [None, "null", "https://evil.example", "http://127.0.0.1:1", "http://127.0.0.1", "x"],
)
async def test_a_write_by_cookie_counts_from_our_own_page_alone(
    shared: World, origin: str | None
) -> None:
    email = fresh_email()
    own = str(shared.http.base_url).rstrip("/")
    foreign = {} if origin is None else {"Origin": origin}
    refused = await order(shared, by_cookie(email, **foreign))
    check_problem(refused, 401, "sign_in_required")
    assert (await order(shared, by_cookie(email, Origin=own))).status_code == 415


@on_shared
async def test_an_expired_cookie_is_said_to_be_expired(shared: World) -> None:
    old = token(fresh_email(), exp=int(time.time()) - 3600)
    answer = await shared.http.get("/api/credits", headers={"Cookie": f"session={old}"})
    problem: dict[str, Any] = check_problem(answer, 401, "sign_in_required")
    assert "expired" in problem["detail"]


async def test_in_production_the_cookie_travels_over_tls_alone(s3: ObjectStore) -> None:
    async with open_world(s3) as world:
        object.__setattr__(world.runtime.settings, "environment", "production")
        signed = {"Authorization": f"Bearer {token()}"}
        assert cookie_of(await world.http.post(SESSION, headers=signed))["secure"] is True
        assert cookie_of(await world.http.delete(SESSION))["secure"] is True
