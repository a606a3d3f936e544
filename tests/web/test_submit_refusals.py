"""Every bad order is refused by name, and leaves nothing behind."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest

from tests.web.conftest import IMAGE_LIMIT
from tests.web.forms import (
    PATH,
    Part,
    check_problem,
    claimed_png,
    fresh_email,
    gif,
    image_part,
    multipart,
    nothing_happens,
    order,
    order_part,
    send,
)
from tests.world import SECRET, World, png, token

pytestmark = pytest.mark.asyncio(loop_scope="package")


@dataclass(frozen=True)
class Bad:
    """Parts of a form, or a raw body, and the refusal it must meet."""

    status: int = 422
    code: str = "invalid_request"
    fields: frozenset[str] = frozenset()
    parts: tuple[Part, ...] = ()
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def bad_order(data: Any, *fields: str, status: int = 422, code: str = "invalid_request") -> Bad:
    return Bad(status, code, frozenset(fields), (image_part(), order_part(data)))


def bad_image(part: Part, status: int = 422, code: str = "invalid_image") -> Bad:
    fields = frozenset({"startImage"}) if status == 422 else frozenset()
    return Bad(status, code, fields, (part, order_part()))


def bad_form(*parts: Part, fields: set[str]) -> Bad:
    return Bad(fields=frozenset(fields), parts=parts)


def bad_body(raw: bytes, kind: str | None, status: int = 422) -> Bad:
    headers = {} if kind is None else {"Content-Type": kind}
    code = "unsupported_media_type" if status == 415 else "invalid_request"
    fields = frozenset({"body"}) if status == 422 else frozenset()
    return Bad(status, code, fields, raw=raw, headers=headers)


def bad_key(key: str) -> Bad:
    return Bad(
        fields=frozenset({"Idempotency-Key"}),
        parts=(image_part(), order_part()),
        headers={"Idempotency-Key": key},
    )


FORM = "multipart/form-data; boundary=B"
GOOD, _ = multipart(image_part(), order_part())

TABLE = {
    # the form
    "no image": bad_form(order_part(), fields={"startImage"}),
    "no data": bad_form(image_part(), fields={"data"}),
    "neither": bad_form(fields={"startImage", "data"}),
    "an extra field": bad_form(image_part(), order_part(), order_part(b"1", "x"), fields={"x"}),
    "an extra file": bad_form(
        image_part(), order_part(), ("more", ("b.png", png(), "image/png")), fields={"more"}
    ),
    "two images": bad_form(image_part(), image_part(), order_part(), fields={"startImage"}),
    "two data": bad_form(image_part(), order_part(), order_part(), fields={"data"}),
    "two data and a field": bad_form(
        image_part(), order_part(), order_part(), order_part(b"", "x"), fields={"body"}
    ),
    "data as a second file": bad_form(
        image_part(), ("data", ("d.json", b"{}", "application/json")), fields={"templateSlug"}
    ),
    "data as the only file": bad_form(
        ("data", ("d.json", b"{}", "application/json")), fields={"templateSlug", "startImage"}
    ),
    "image as text": bad_form(
        ("startImage", (None, b"x", "")), order_part(), fields={"startImage"}
    ),
    "data over its size": bad_form(image_part(), order_part(b" " * 70_000), fields={"body"}),
    # the body
    "JSON instead of a form": bad_body(b"{}", "application/json", 415),
    "an urlencoded form": bad_body(b"data=1", "application/x-www-form-urlencoded", 415),
    "no content type": bad_body(GOOD, None, 415),
    "no boundary": bad_body(GOOD, "multipart/form-data"),
    "an empty boundary": bad_body(GOOD, "multipart/form-data; boundary="),
    "another boundary": bad_body(GOOD, "multipart/form-data; boundary=other"),
    "garbage": bad_body(bytes(range(256)), FORM),
    "a part without a name": bad_body(b"--B\r\nX: 1\r\n\r\nv\r\n--B--\r\n", FORM),
    "a broken part header": bad_body(b"--B\r\n\x00: 1\r\n\r\nv\r\n--B--\r\n", FORM),
    "a body that ends early": Bad(
        fields=frozenset({"startImage", "data"}), raw=GOOD[:60], headers={"Content-Type": FORM}
    ),
    "a body without its last boundary": Bad(
        fields=frozenset({"data"}), raw=GOOD[: GOOD.index(b"--B--")], headers={"Content-Type": FORM}
    ),
    # the JSON
    "empty JSON": bad_order(b"", "data"),
    "half JSON": bad_order(b'{"templateSlug":', "data"),
    "a JSON list": bad_order([], "data"),
    "a JSON null": bad_order(b"null", "data"),
    "JSON of another encoding": bad_order('{"a": "é"}'.encode("utf-16"), "data"),
    "deep JSON": bad_order(b"[" * 30_000, "data"),
    "a lone surrogate": bad_order(b'{"templateSlug": "\\ud800", "variables": {}}', "data"),
    "an unknown field": bad_order(order(webhookUrl="https://evil.example"), "webhookUrl"),
    "no slug": bad_order(order(templateSlug=...), "templateSlug"),
    "a number for a slug": bad_order(order(templateSlug=5), "templateSlug"),
    "an empty slug": bad_order(order(templateSlug=""), "templateSlug"),
    "a long slug": bad_order(order(templateSlug="a" * 101), "templateSlug"),
    "an unknown slug": bad_order(order(templateSlug="nope"), status=404, code="not_found"),
    "a slug of a NUL": bad_order(order(templateSlug="a\0b"), status=404, code="not_found"),
    "a slug like a path": bad_order(order(templateSlug="../x"), status=404, code="not_found"),
    "a list of variables": bad_order(order(variables=["Acme"]), "variables"),
    "a number for a variable": bad_order(order(variables={"BRAND": 5}), "variables.BRAND"),
    "a null variable": bad_order(order(variables={"BRAND": None}), "variables.BRAND"),
    "no variable": bad_order(order(variables=...), "variables.BRAND"),
    "a variable missing": bad_order(order(variables={}), "variables.BRAND"),
    "a variable unknown": bad_order(
        order(variables={"BRAND": "a", "OTHER": "b"}), "variables.OTHER"
    ),
    "a variable in lower case": bad_order(
        order(variables={"brand": "a"}), "variables.BRAND", "variables.brand"
    ),
    "a variable empty": bad_order(order(variables={"BRAND": ""}), "variables.BRAND"),
    "a variable of spaces": bad_order(order(variables={"BRAND": " \u2003 "}), "variables.BRAND"),
    "a variable too long": bad_order(order(variables={"BRAND": "a" * 201}), "variables.BRAND"),
    "a variable of two lines": bad_order(order(variables={"BRAND": "a\nb"}), "variables.BRAND"),
    "a variable with NUL": bad_order(order(variables={"BRAND": "a\0b"}), "variables.BRAND"),
    "a variable with ESC": bad_order(order(variables={"BRAND": "\x1b[2J"}), "variables.BRAND"),
    "very many variables": bad_order(
        order(variables={f"V{each}": "x" for each in range(51)}), "variables"
    ),
    "an unknown provider": bad_order(order(provider="veo9"), "provider"),
    "a provider in capitals": bad_order(order(provider="Seedance"), "provider"),
    "an empty provider": bad_order(order(provider=""), "provider"),
    "a number for a provider": bad_order(order(provider=1), "provider"),
    "a retired provider": bad_order(order(provider="sora2"), status=410, code="provider_retired"),
    "another retired provider": bad_order(
        order(provider="sora2_pro", duration=4), status=410, code="provider_retired"
    ),
    "a word for a duration": bad_order(order(duration="long"), "duration"),
    "a broken duration": bad_order(order(duration=5.5), "duration"),
    "true for a duration": bad_order(order(duration=True), "duration"),
    "no time at all": bad_order(order(duration=0), "duration"),
    "a negative duration": bad_order(order(duration=-5), "duration"),
    "a duration too short": bad_order(order(duration=1), "duration"),
    "a duration too long": bad_order(order(duration=13), "duration"),
    "a huge duration": bad_order(order(duration=10**30), "duration"),
    "a duration of another provider": bad_order(order(provider="kling2_5", duration=7), "duration"),
    "two things wrong": bad_order(order(variables={}, duration=99), "variables.BRAND", "duration"),
    "image and order wrong": Bad(
        fields=frozenset({"startImage", "templateSlug"}),
        parts=(image_part(b""), order_part(order(templateSlug=5))),
    ),
    # the image
    "an empty file": bad_image(image_part(b""), code="invalid_request"),
    "a fake image": bad_image(image_part(b"not an image"), 415, "unsupported_media_type"),
    "a fake PNG": bad_image(image_part(b"\x89PNG\r\n\x1a\n" + bytes(500))),
    "a truncated image": bad_image(image_part(png()[:-20])),
    "an image with a tail": bad_image(image_part(png() + b"PK\x03\x04")),
    "a GIF": bad_image(image_part(gif(), "image/gif"), 415, "unsupported_media_type"),
    "a GIF called PNG": bad_image(image_part(gif()), 415, "unsupported_media_type"),
    "an SVG": bad_image(image_part(b"<svg/>", "image/svg+xml"), 415, "unsupported_media_type"),
    "a PNG called HTML": bad_image(image_part(None, "text/html"), 415, "unsupported_media_type"),
    "a decompression bomb": bad_image(image_part(claimed_png(50_000, 50_000))),
    "too many pixels": bad_image(image_part(png("black", (1200, 1000)))),
    "too few pixels": bad_image(image_part(png("black", (8, 8)))),
    "an image too large": bad_image(image_part(png() + bytes(IMAGE_LIMIT)), 413, "too_large"),
    "a body too large": bad_image(image_part(bytes(IMAGE_LIMIT * 4)), 413, "too_large"),
    # the key
    "an empty key": bad_key(""),
    "a key with a space": bad_key("a b"),
    "a long key": bad_key("k" * 201),
    "a key with an umlaut": bad_key("schl\u00fcssel"),
}


@pytest.mark.parametrize("bad", TABLE.values(), ids=TABLE.keys())
async def test_a_bad_order_is_refused_by_name_and_leaves_nothing_behind(
    shared: World, bad: Bad
) -> None:
    """F12: an image is uploaded, never fetched from an address; it is judged before the hold."""
    email = fresh_email()
    await shared.grant(1000, email)
    body, headers = multipart(*bad.parts) if bad.raw is None else (bad.raw, {})
    raw = {name: value.encode("utf-8") for name, value in bad.headers.items()}
    sent: Any = {name: value.encode() for name, value in headers.items()} | raw
    async with nothing_happens(shared, email):
        answer = await send(shared, email, body, sent)
    found = check_problem(answer, bad.status, bad.code)
    assert {each["field"] for each in found.get("errors", [])} == bad.fields
    assert all(each["message"] for each in found.get("errors", []))


async def test_a_retired_provider_is_refused_with_its_successors(shared: World) -> None:
    email = fresh_email()
    await shared.grant(1000, email)
    answer = await shared.post(data=order(provider="sora2_pro"), email=email)
    found = check_problem(answer, 410, "provider_retired")
    assert found["successors"] == ["seedance2", "kling3"]


async def test_a_body_over_the_limit_is_refused_also_when_its_length_is_not_announced(
    shared: World,
) -> None:
    email, sent = fresh_email(), 0
    await shared.grant(1000, email)
    body, headers = multipart(image_part(bytes(8 * 1024 * 1024)), order_part())

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for at in range(0, len(body), 16_384):
            sent += 1
            yield body[at : at + 16_384]

    async with nothing_happens(shared, email):
        answer = await send(shared, email, chunks(), headers)
    assert "content-length" not in answer.request.headers
    check_problem(answer, 413, "too_large")


async def test_an_order_without_enough_credits_is_refused_and_leaves_nothing_behind(
    shared: World,
) -> None:
    email = fresh_email()
    async with nothing_happens(shared, email):
        check_problem(await shared.post(email=email), 402, "insufficient_credits")
    await shared.grant(39, email)
    async with nothing_happens(shared, email):
        check_problem(await shared.post(email=email), 402, "insufficient_credits")


async def test_no_text_of_an_order_comes_back_as_html(shared: World) -> None:
    email = fresh_email()
    answer = await shared.post(data=order(provider="<script>"), email=email)
    assert answer.headers["content-type"] == "application/problem+json"


BAD_SIGN_INS = {
    "none": None,
    "another scheme": "Basic YTpi",
    "no token": "Bearer",
    "two words": "Bearer a b",
    "garbage": "Bearer garbage",
    "three dots": "Bearer ..",
    "not ASCII": "Bearer é.é.é",
    "expired": f"Bearer {token(exp=1)}",
    "not yet valid": f"Bearer {token(nbf=4_000_000_000)}",
    "alg none": "Bearer " + jwt.encode({"email": "a@b.c"}, "", "none"),
    "the wrong key": "Bearer " + jwt.encode({"email": "a@b.c"}, "x" * 48, "HS256"),
    "another algorithm": "Bearer " + jwt.encode({"email": "a@b.c"}, SECRET * 2, "HS512"),
    "HS512 with our key": "Bearer " + jwt.encode({"email": "a@b.c"}, SECRET + "x" * 20, "HS512"),
    "no e-mail": "Bearer " + jwt.encode({"sub": "1"}, SECRET, "HS256"),
    "a number for an e-mail": "Bearer " + jwt.encode({"email": 5}, SECRET, "HS256"),
    "a list for an e-mail": "Bearer " + jwt.encode({"email": ["a@b.c"]}, SECRET, "HS256"),
    "no address": f"Bearer {token(email='ana')}",
    "a cut signature": f"Bearer {token()[:-4]}",
}


@pytest.mark.parametrize("sign_in", BAD_SIGN_INS.values(), ids=BAD_SIGN_INS.keys())
async def test_without_a_valid_sign_in_an_order_is_refused_and_leaves_nothing_behind(
    shared: World, sign_in: str | None
) -> None:
    body, headers = multipart(image_part(), order_part())
    sent = headers if sign_in is None else headers | {"Authorization": sign_in}
    raw: Any = {name: value.encode("latin-1") for name, value in sent.items()}
    async with nothing_happens(shared, "ana@example.com"):
        answer = await shared.http.post(PATH, content=body, headers=raw)
    found = check_problem(answer, 401, "sign_in_required")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert SECRET not in json.dumps(found)


async def test_the_session_cookie_reads_but_never_submits(shared: World) -> None:
    email = fresh_email()
    await shared.grant(1000, email)
    cookie = {"Cookie": f"session={token(email)}"}
    body, headers = multipart(image_part(), order_part())
    async with nothing_happens(shared, email):
        answer = await shared.http.post(PATH, content=body, headers=headers | cookie)
    check_problem(answer, 401, "sign_in_required")
    assert (await shared.http.get("/api/credits", headers=cookie)).json()["available"] == 1000


async def test_a_caller_who_hangs_up_in_the_middle_of_an_upload_is_no_error_of_ours(
    shared: World, caplog: pytest.LogCaptureFixture
) -> None:
    email = fresh_email()
    await shared.grant(1000, email)
    body, headers = multipart(image_part(), order_part())
    url = shared.http.base_url
    lines = {**headers, **shared.headers(email), "Host": "x", "Content-Length": str(len(body))}
    head = f"POST {PATH} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
    async with nothing_happens(shared, email):
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(head.encode() + b"\r\n" + body[:100])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        for _ in range(3):  # two whole requests later the server has seen the end of that one
            assert (await shared.http.get("/health/live")).status_code == 200
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []
