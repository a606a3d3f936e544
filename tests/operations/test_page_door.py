"""The HTTP door: who may pass, by token or by cookie, and what everybody else is told."""

import asyncio
import dataclasses
import re
from types import MappingProxyType
from typing import Any

import pytest

from service.domain.errors import ServiceError
from service.operations import money, registry
from service.operations.base import Context
from service.operations.money import GrantAnswer, GrantCredits
from service.sandbox.object_store import ObjectStore
from service.web.operating import MAX_BODY_BYTES
from service.web.ops_sign_in import FAILURES, PERIOD_S, SESSION_S, OpsSignIn
from tests.operations.conftest import OPS_TOKEN, operate
from tests.world import OWNER, World, open_world, token

BEARER = {"Authorization": f"Bearer {OPS_TOKEN}"}


@pytest.fixture(autouse=True)
def no_wrong_tokens_before(ops: World) -> None:
    """Wrong tokens are counted for all tests together, as for all operators."""
    ops.app.state.ops_sign_in._failures.clear()


def own_page(world: World) -> dict[str, str]:
    return {"Origin": str(world.http.base_url).rstrip("/")}


async def call(world: World, name: str, headers: dict[str, str], **kwargs: Any) -> Any:
    return await world.http.post(f"/ops/api/{name}", headers=headers, **{"json": {}, **kwargs})


async def signed_in(world: World) -> dict[str, str]:
    answer = await world.http.post("/ops/session", json={"token": OPS_TOKEN})
    assert answer.status_code == 204, answer.text
    said = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "Path=/ops", "SameSite=strict", f"Max-Age={SESSION_S}"} <= set(said)
    assert OPS_TOKEN not in said[0]
    return {"Cookie": said[0]}


async def test_without_a_token_in_the_settings_there_is_nothing(s3: ObjectStore) -> None:
    async with open_world(s3) as bare:
        for method, path in [
            ("GET", "/ops"),
            ("POST", "/ops/session"),
            ("DELETE", "/ops/session"),
            ("POST", "/ops/api/overview"),
        ]:
            answer = await bare.http.request(method, path, json={"token": ""}, headers=BEARER)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


async def test_the_token_opens_every_operation_and_nothing_else_does(ops: World) -> None:
    assert (await call(ops, "overview", BEARER)).status_code == 200
    strangers: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic wrong"},
        {"Authorization": f"Bearer {token(OWNER)}"},
        {"Cookie": f"session={token(OWNER)}"},
        {"Cookie": f"ops={OPS_TOKEN}"},
    ]
    for headers in strangers:
        answer = await call(ops, "overview", {**headers, **own_page(ops)})
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required"), headers


async def test_the_cookie_counts_for_the_operators_own_page_only(ops: World) -> None:
    cookie = await signed_in(ops)
    assert (await call(ops, "overview", cookie | own_page(ops))).status_code == 200
    in_front = {"Authorization": "Basic b3BzOm9wcw=="}  # of a sign-in in front of this one
    assert (await call(ops, "overview", cookie | own_page(ops) | in_front)).status_code == 200
    for origin in ({}, {"Origin": "https://elsewhere.example"}, {"Origin": "null"}):
        answer = await call(ops, "overview", cookie | origin)
        assert answer.status_code == 401, origin
    answer = await ops.http.delete("/ops/session", headers=cookie)
    assert (answer.status_code, 'ops="";' in answer.headers["set-cookie"]) == (204, True)


@pytest.mark.parametrize("body", [{"token": "wrong"}, {"token": ""}, {}, {"token": 5}, []])
async def test_a_sign_in_without_the_token_gets_no_cookie(ops: World, body: Any) -> None:
    answer = await ops.http.post("/ops/session", json=body)
    assert answer.status_code in {401, 422}
    assert "set-cookie" not in answer.headers


async def test_after_many_wrong_tokens_nobody_signs_in_but_cookies_go_on(ops: World) -> None:
    cookie = await signed_in(ops)
    for _ in range(FAILURES):
        assert (await call(ops, "overview", {"Authorization": "Bearer x"})).status_code == 401
    for attempt in (
        await call(ops, "overview", BEARER),
        await ops.http.post("/ops/session", json={"token": OPS_TOKEN}),
    ):
        assert (attempt.status_code, attempt.json()["code"]) == (429, "too_often")
        assert 0 < int(attempt.headers["retry-after"]) <= PERIOD_S + 1
    assert (await call(ops, "overview", cookie | own_page(ops))).status_code == 200


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_cookie_ends_by_itself_and_is_good_for_its_own_token_alone() -> None:
    clock = Clock()
    sign_in = OpsSignIn(OPS_TOKEN, clock)
    cookie = sign_in.new_cookie()
    sign_in.check_cookie(cookie)
    clock.now += SESSION_S - 1
    sign_in.check_cookie(cookie)
    with pytest.raises(ServiceError):
        OpsSignIn(OPS_TOKEN + "2", clock).check_cookie(cookie)
    ends, _, mac = cookie.partition(".")
    for forged in (f"{int(ends) + 1}.{mac}", ends, f"{ends}.", f".{mac}", "", "é", f"{cookie}x"):
        with pytest.raises(ServiceError):
            sign_in.check_cookie(forged)
    clock.now += 1
    with pytest.raises(ServiceError, match="expired"):
        sign_in.check_cookie(cookie)


def test_wrong_tokens_are_forgotten_after_a_minute() -> None:
    clock = Clock()
    sign_in = OpsSignIn(OPS_TOKEN, clock)
    for _ in range(FAILURES):
        with pytest.raises(ServiceError, match="not the operators"):
            sign_in.check_token("wrong")
    with pytest.raises(ServiceError, match="too many"):
        sign_in.check_token(OPS_TOKEN)
    clock.now += PERIOD_S
    sign_in.check_token(OPS_TOKEN)


async def test_the_page_is_there_before_a_sign_in_and_runs_only_its_own_scripts(
    ops: World,
) -> None:
    answer = await ops.http.get("/ops")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("name", "sent", "status", "code", "words"),
    [
        ("nothing", {"json": {}}, 404, "not_found", ["nothing"]),
        ("jobs.list", {"json": {"limit": 0, "state": "x", "y": 1}}, 422, "invalid_request",
         ["limit", "state", "y"]),
        ("jobs.list", {"json": {"parked": True, "due": True}}, 422, "invalid_request", ["never"]),
        ("jobs.list", {"json": []}, 422, "invalid_request", []),
        ("jobs.list", {"content": "{", "json": None}, 422, "invalid_request", ["JSON"]),
        ("jobs.list", {"json": {"limit": "5"}}, 422, "invalid_request", ["limit"]),
        ("jobs.show", {"json": {"id": "no-such-job"}}, 404, "not_found", []),
        ("jobs.show", {"json": {"id": "../x"}}, 422, "invalid_request", ["id"]),
        ("inbox.show", {"json": {"id": "no-such-entry"}}, 404, "not_found", []),
        ("credits.grant", {"json": {"email": "x", "amount": 0}}, 422, "invalid_request",
         ["email", "amount"]),
        ("credits.refund", {"json": {"reason": "x"}}, 422, "invalid_request", ["jobId"]),
        ("credits.refund", {"json": {"jobId": "v1", "amount": 1, "reason": "x"}}, 422,
         "invalid_request", ["job"]),
        ("credits.refund", {"json": {"jobId": "v1", "reason": "x"}}, 404, "not_found", []),
        ("credits.refund", {"json": {"email": OWNER, "amount": 10**8, "reason": "x"}}, 409,
         "nothing_to_refund", []),
        ("templates.load", {"json": {"templates": [{"slug": "x"}]}}, 422, "invalid_request",
         ["[0].title"]),
        ("accounts.close", {"json": {"email": "nobody@example.com"}}, 404, "not_found", []),
        ("pauses.pause", {"json": {"activity": "x"}}, 422, "invalid_request",
         ["activity", "reason"]),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_is_a_problem_that_names_everything_that_is_wrong(
    ops: World, name: str, sent: Any, status: int, code: str, words: list[str]
) -> None:
    headers = {**BEARER, "Content-Type": "application/json"}
    answer = await call(ops, name, headers, **sent)
    said = answer.json()
    assert (answer.status_code, said["code"]) == (status, code), said
    assert answer.headers["content-type"] == "application/problem+json"
    assert all(word in said["detail"] for word in words), said


async def test_bodies_are_bounded_and_must_be_json(ops: World) -> None:
    huge = await call(ops, "jobs.list", BEARER, json={"email": "x" * MAX_BODY_BYTES})
    assert huge.status_code == 413
    form = await ops.http.post("/ops/api/overview", headers=BEARER, data={"a": "b"})
    assert form.status_code == 415


async def test_an_operation_that_takes_too_long_is_ended(
    ops: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried = dataclasses.replace(registry.OPERATIONS["overview"], limit_s=0.0)
    monkeypatch.setattr(registry, "OPERATIONS", MappingProxyType({"overview": hurried}))
    answer = await call(ops, "overview", BEARER)
    assert (answer.status_code, answer.json()["code"]) == (504, "took_too_long")


async def test_an_act_that_takes_too_long_is_noted_and_names_what_it_can_be_repeated_under(
    ops: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been done all the same: the repeat must not do it once more."""

    async def stuck(context: Context, wanted: GrantCredits) -> GrantAnswer:
        await money.grant(context, wanted)
        await asyncio.Event().wait()
        raise AssertionError

    real = registry.OPERATIONS
    late = dataclasses.replace(real["credits.grant"], run=stuck, limit_s=1.0)
    monkeypatch.setattr(registry, "OPERATIONS", MappingProxyType({"credits.grant": late}))
    order = {"email": "late@example.com", "amount": 7}
    answer = await call(ops, "credits.grant", BEARER, json=order)
    assert answer.status_code == 504
    told = re.search(r"not known: repeat it with the id (\w+)", answer.json()["detail"])
    assert told

    monkeypatch.setattr(registry, "OPERATIONS", real)
    repeated = await operate(ops, "credits.grant", **order, id=told[1])
    assert (repeated["changed"], repeated["granted"]) == (False, 7)
    noted = (await operate(ops, "operations.log", limit=2))["actions"]
    assert [each["arguments"].get("outcome") for each in noted] == [None, "unknown"]
    assert noted[1]["arguments"]["id"] == told[1]


async def test_templates_are_loaded_listed_and_noted_by_name(ops: World) -> None:
    template = {
        "slug": "slow-zoom",
        "title": "Slow zoom",
        "prompt": "Zoom in on {{THING}}.",
        "provider": "kling2_5",
        "durationSeconds": 5,
    }
    loaded = await operate(ops, "templates.load", templates=[template])
    assert loaded["templates"][0] | template == loaded["templates"][0]
    listed = await operate(ops, "templates.list")
    assert loaded["templates"][0] in listed["templates"]
    [noted] = (await operate(ops, "operations.log", limit=1))["actions"]
    assert (noted["name"], noted["door"]) == ("templates.load", "page")
    assert noted["arguments"] == {"slugs": ["slow-zoom"]}
