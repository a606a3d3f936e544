"""What deploy/ describes, running: the image's code, the units' processes, either proxy, TLS."""

import asyncio
import contextlib
import http.client
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image as Picture

from service.commands.local import free_port
from service.doctor.canary import all_loads, fly
from service.doctor.canary_answers import Way
from service.domain.canary import Outcome
from service.settings import Settings
from tests.browser.site import UNTIL_FINISHED, finish
from tests.deploy.files import services
from tests.deploy.fleet import Fleet, Front, health_check, running_fleet
from tests.deploy.image import Image, build_image
from tests.deploy.proxies import HOST, Place, running_proxy
from tests.engine.server import Engine, running_engine
from tests.parts import free_ports
from tests.processes.running import Stand, sandbox_process
from tests.r2.tls import write_certificates
from tests.world import OWNER, SEAL_KEY, SOON_S, eventually, token

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]
LARGEST = Settings.model_fields["max_webhook_bytes"].default
SIDE = 1850  # of a square of noise: 10.3 MB, just under what is taken
TOO_LARGE = 12_000_000
CHUNK = 65_536


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build_image(tmp_path_factory.mktemp("image"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    async with running_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The proxies' certificate, and the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("tls")
    write_certificates(folder)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tls: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """fal and R2; fal trusts the test's authority, as it does the world's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(tls / "authority.pem"))
        async with sandbox_process(tmp_path_factory.mktemp("stand"), "--slots", "64") as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def places(tls: Path) -> dict[str, Place]:
    """Where either proxy listens; behind them are the same processes."""
    one, other = free_ports(2)
    webs = (one, other)
    return {
        kind: Place(http=free_port(), https=free_port(), webs=webs, tls=tls)
        for kind in ("nginx", "caddy")
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    image: Image,
    engine: Engine,
    stand: Stand,
    places: dict[str, Place],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Fleet]:
    """fal reaches it by way of nginx."""
    folder, place = tmp_path_factory.mktemp("fleet"), places["nginx"]
    async with (
        running_proxy("nginx", folder, place),
        running_fleet(image, engine, stand, folder, place) as running,
    ):
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["nginx", "caddy"])
async def front(
    request: pytest.FixtureRequest, fleet: Fleet, places: dict[str, Place]
) -> AsyncIterator[Front]:
    kind = request.param
    async with contextlib.AsyncExitStack() as stack:
        if kind != "nginx":  # which runs already
            await stack.enter_async_context(running_proxy(kind, fleet.folder, places[kind]))
        yield Front(kind=kind, fleet=fleet, place=places[kind])


async def test_a_large_image_becomes_a_video_and_events_say_so_at_once(front: Front) -> None:
    """fal's webhook is held back until the first event is there, so nothing can buffer it."""
    brand = _brand(front)
    await front.fleet.stand.plan(UNTIL_FINISHED, match=brand)
    async with front.client() as client:
        before = (await client.get("/api/credits")).json()
        job_id = await _order(client, brand, _noise())
        address = f"/api/templates/video/events?jobId={job_id}"
        async with client.stream("GET", address) as stream:
            assert stream.status_code == 200
            events = _events(stream)
            first = await anext(events)
            assert first["status"] in {"pending", "processing"}
            await finish(front.fleet.stand.fal_url, brand)
            last = first
            async for each in events:
                last = each
        assert last["status"] == "completed"
        after = (await client.get("/api/credits")).json()
    assert before["available"] - after["available"] == last["credits"] > 0
    assert after["reserved"] == 0
    (asked,) = (await front.fleet.stand.requests_by_brand())[brand]
    assert [each["status"] for each in asked["deliveries"]][-1:] == [200]
    assert _secret_in_no_log(front.fleet, asked["webhook_url"].rsplit("/", 1)[1])


async def test_deliveries_arrive_byte_for_byte_on_both_forms_of_the_path(front: Front) -> None:
    """F41: the canary's loads by https and by plain http, which is redirected elsewhere alone."""
    for url in (front.url, front.plain_url):
        way = Way(base_url=url, seal_key=SEAL_KEY.encode(), tls=front.trusting())
        finding = await fly(way, all_loads(LARGEST))
        assert finding.outcome is Outcome.PASSED, finding
    async with front.client() as client:
        for url in (front.url, front.plain_url):
            for end in ("", "/"):
                answer = await client.post(f"{url}/api/fal/webhook/nobody.s-token{end}", json={})
                assert (answer.status_code, answer.json()["code"]) == (401, "not_authentic"), url
        redirected = await client.get(f"{front.plain_url}/api/credits?a=b")
        assert redirected.status_code == 308
        assert redirected.headers["location"].startswith(f"https://{HOST}")
        assert redirected.headers["location"].endswith("/api/credits?a=b")


async def test_too_large_a_form_is_refused_and_what_is_not_for_the_world_hidden(
    front: Front,
) -> None:
    assert await _refused(front, TOO_LARGE) == 413
    async with front.client() as client:
        assert (await client.get("/metrics")).status_code == 404


async def test_a_connection_is_kept_and_one_process_answers_while_the_other_is_away(
    front: Front,
) -> None:
    await asyncio.to_thread(_twice_on_one_connection, front)
    first = front.fleet.webs[0]
    assert await first.stop() == 0, first.said()
    async with front.client() as client:
        answers = [await client.get("/api/credits") for _ in range(10)]
        assert {each.status_code for each in answers} == {200}

        async def accepted() -> str | None:
            answer = await _post(client, f"while-one-is-away-{front.kind}", _small())
            # Debian's Caddy sends no body to a second process; then a client repeats its order.
            if front.kind == "caddy" and answer.status_code == 502:
                return None
            assert answer.status_code == 202, answer.text
            return str(answer.json()["jobId"])

        address = f"/api/templates/video/status?jobId={await eventually(accepted)}"

        async def completed() -> bool | None:
            return (await client.get(address)).json()["status"] == "completed" or None

        await eventually(completed)
    await first.start()
    await first.serving()


async def test_who_asks_is_told_by_the_host_and_by_no_forwarded_header(front: Front) -> None:
    """A write by cookie counts from this site's own page, whatever a client says of its way."""
    own, foreign = front.url, "https://elsewhere.example"
    forged = {
        "X-Forwarded-Host": "elsewhere.example",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=127.0.0.1;host=elsewhere.example;proto=https",
    }
    cookie = {"Cookie": f"session={token(OWNER)}"}
    async with front.client(**cookie) as client:
        cancel = {"jobId": "0" * 26}
        path = "/api/templates/video/cancel"
        refused = await client.post(path, json=cancel, headers={"Origin": foreign, **forged})
        assert refused.status_code == 401
        known = await client.post(path, json=cancel, headers={"Origin": own, **forged})
        assert known.status_code == 404, "the page's own write came through, for a job of nobody"


async def test_the_health_checks_and_the_audit_say_what_is_so(fleet: Fleet) -> None:
    """The image's own for web, compose's for the reconciler; and the books are right."""
    sweeps = services()["reconciler"]["healthcheck"]["test"][-1]
    for member, script in ((fleet.webs[1], health_check()), (fleet.reconciler, sweeps)):
        assert await member.check(script) == 0, member.said()
    nobody = free_port()
    fleet.migrate.environment |= {"PORT": str(nobody), "RECONCILER_PORT": str(nobody)}
    for script in (health_check(), sweeps):
        assert await fleet.migrate.check(script) != 0
    await fleet.audit()


def _twice_on_one_connection(front: Front) -> None:
    connection = http.client.HTTPSConnection(HOST, front.place.https, context=front.trusting())
    connection.connect()
    connection.auto_open = 0  # a second one would be an error
    for _ in range(2):
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()


def _secret_in_no_log(fleet: Fleet, secret: str) -> bool:
    """Whether a webhook's address, which is a capability, is in nobody's log, though used."""
    logs = {each.name: each.read_text("utf-8", "replace") for each in fleet.folder.glob("*.log")}
    assert "/api/fal/webhook/..." in logs["access.log"]
    return not any(secret in text for text in logs.values())


async def _refused(front: Front, size: int) -> int:
    """The answer to a form of this size, read while the form is sent, as browsers do."""
    reader, writer = await asyncio.open_connection(
        HOST, front.place.https, ssl=front.trusting(), server_hostname=HOST
    )

    async def send() -> None:
        head = (
            "POST /api/templates/video HTTP/1.1",
            f"Host: {HOST}:{front.place.https}",
            f"Authorization: Bearer {token(OWNER)}",
            "Content-Type: multipart/form-data; boundary=b",
            f"Content-Length: {size}",
        )
        writer.write("\r\n".join([*head, "", ""]).encode())
        with contextlib.suppress(ConnectionError):  # refused: nobody reads on
            for _ in range(0, size, CHUNK):
                writer.write(b"x" * CHUNK)
                await writer.drain()

    sending = asyncio.create_task(send())
    async with asyncio.timeout(SOON_S):
        status = int((await reader.readline()).split()[1])
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.transport.abort()
    return status


def _brand(front: Front) -> str:
    """The first order's, which no other proxy's fleet has."""
    return f"by-way-of-{front.kind}"


async def _order(client: httpx.AsyncClient, brand: str, image: bytes) -> str:
    answer = await _post(client, brand, image)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["jobId"]
    return job_id


async def _post(client: httpx.AsyncClient, brand: str, image: bytes) -> httpx.Response:
    order = {"templateSlug": "night-life-roller", "variables": {"BRAND": brand}, "duration": 2}
    return await client.post(
        "/api/templates/video",
        data={"data": json.dumps(order)},
        headers={"Idempotency-Key": brand},
        files={"startImage": ("start.png", image, "image/png")},
    )


async def _events(stream: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in stream.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def _noise() -> bytes:
    return _png(Picture.frombytes("RGB", (SIDE, SIDE), os.urandom(SIDE * SIDE * 3)))


def _small() -> bytes:
    return _png(Picture.new("RGB", (64, 36), "teal"))


def _png(picture: Picture.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue()
