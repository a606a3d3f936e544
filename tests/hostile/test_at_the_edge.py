"""What a library lets through that the service has to stop: charsets, hosts, origins, heads."""

import pytest

from service.sandbox.object_store import ObjectStore
from tests.hostile.test_clients import GET, HOST, SMUGGLED, answers
from tests.web.forms import GOOD_ORDER, PATH, image_part, multipart, order_part
from tests.world import World, open_world


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna"])
async def test_no_charset_of_a_form_is_an_error_of_ours(shared: World, charset: str) -> None:
    data = b"xn--" + b"a" * 80 + b".b" * 40
    body, _ = multipart(image_part(), ("data", (None, data, "text/plain")))
    kind = f"multipart/form-data; boundary=B; charset={charset}"
    answer = await shared.http.post(
        PATH, content=body, headers=shared.headers() | {"Content-Type": kind}
    )
    assert answer.status_code == 422, (GOOD_ORDER, order_part)


async def test_an_origin_that_is_no_address_is_401(shared: World) -> None:
    headers = {"Cookie": "session=x", "Origin": "http://["}
    assert (await shared.http.post(PATH, headers=headers)).status_code == 401


FROM_ELSEWHERE = (
    *(f"Host: {each}" for each in ("[", "a@127.0.0.1", "evil.example#@localhost")),
    *(f"Host: {each}" for each in ("evil.example:x", "evil.example:", "localhost:99999999")),
    "Host: evil\\@localhost",
    "Host: 127.0.0.1\r\nX-Forwarded-For: 8.8.8.8",
    "Host: 127.0.0.1\r\nForwarded: for=8.8.8.8",
    "Host: 127.0.0.1\r\nX-Forwarded-Host: evil.example",
    "Host: 127.0.0.1\r\nCF-Connecting-IP: 8.8.8.8",
    "Host: 127.0.0.1\r\nVia: 1.1 proxy",
)
HERE = ("Host: 127.0.0.1", "Host: localhost:8000", "Host: [::1]:8000")


async def test_the_development_user_is_not_reached_through_a_tunnel(s3: ObjectStore) -> None:
    """Starlette reads a malformed Host as the socket's own address; tunnels write another."""
    async with open_world(s3, AUTH_DEVELOPMENT_USER="dev@example.com") as world:

        async def told(lines: str) -> set[int]:
            sent = f"GET /api/credits HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n"
            return set(await answers(world, sent.encode(), ends=False))

        assert {lines: await told(lines) for lines in HERE} == {lines: {200} for lines in HERE}
        found = {lines: await told(lines) for lines in FROM_ELSEWHERE}
        assert [lines for lines, codes in found.items() if not codes <= {400, 401}] == []


@pytest.mark.parametrize(
    "sent",
    [
        GET + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
        GET + b"X" * 20_000 + b": a\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
)
async def test_a_large_head_is_refused_also_when_it_arrives_at_once(
    shared: World, sent: bytes
) -> None:
    assert set(await answers(shared, sent + SMUGGLED)) <= {400, 431}
