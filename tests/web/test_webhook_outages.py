"""Deliveries while something of ours is away, broken, or under a flood."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import httpx
import pytest
from nacl.signing import SigningKey, VerifyKey

from service.ports import Signed
from service.sandbox.object_store import ObjectStore
from tests.web.conftest import KNOWN_KEY
from tests.web.deliveries import (
    SILENT,
    Signer,
    deliver,
    inbox,
    silent_job,
    webhook_path,
)
from tests.web.forms import check_problem
from tests.web.webhooks import database_away, on_shared
from tests.world import World, eventually, open_world

LOAD = 24


async def test_with_the_database_away_a_delivery_is_503_and_accepted_when_it_is_back(
    world: World,
) -> None:
    """F36: nobody listens where the database should be."""
    await world.grant(100)
    job = await silent_job(world)
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    large = b"x" * (world.settings.max_webhook_bytes + 1)
    async with database_away(world):
        answer = await deliver(world, job.job_id, body, headers)
        check_problem(answer, 503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        check_problem(
            await deliver(world, job.job_id, large, headers), 503, "temporarily_unavailable"
        )
        ready = await world.http.get("/health/ready")
        assert check_problem(ready, 503, "not_ready")["checks"]["database"] != "ok"
        assert (await world.http.get("/health/live")).status_code == 200
        status = await world.http.get(
            "/api/templates/video/status",
            params={"jobId": job.job_id},
            headers=world.headers(),
        )
        check_problem(status, 503, "temporarily_unavailable")
    assert (await deliver(world, job.job_id, body, headers)).status_code == 200
    await world.until_state(job.job_id, "ready")


async def test_with_the_key_set_away_a_cold_cache_is_503_and_a_warm_one_accepts(
    world: World,
) -> None:
    """F31: our fault is never a 401."""
    await world.grant(100)
    job = await silent_job(world)
    body = job.message()
    headers = Signer().headers(body, request_id=job.request_id)
    control = f"{world.sandbox.fal_url}/sandbox/jwks"
    await world.http.post(control, json={"fault": "down"})
    answer = await deliver(world, job.job_id, body, headers)
    check_problem(answer, 503, "temporarily_unavailable")
    assert await inbox(world) == []
    ready = await world.http.get("/health/ready")
    checks = check_problem(ready, 503, "not_ready")["checks"]
    assert checks.pop("keySet") == "the key set cannot be fetched"
    assert set(checks.values()) == {"ok", "not checked"}

    await world.http.post(control, json={"fault": None})
    world.runtime.fal_keys._tried_at = float("-inf")  # as if the pause between tries were over
    await world.readiness(200)
    await world.http.post(control, json={"fault": "down"})
    assert (await deliver(world, job.job_id, body, headers)).status_code == 200
    await world.until_state(job.job_id, "ready")


async def test_keys_rotated_under_load_cost_one_fetch_and_no_delivery(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F30: each delivery is taken at its first try; all that miss the key share one fetch."""
    await world.grant(1000)
    await world.until(await world.submit(), "completed")
    (request,) = await world.requests()
    await world.http.post(f"{world.sandbox.fal_url}/sandbox/rotate-keys")
    verifier, keys = world.runtime.services.verifier, world.runtime.fal_keys
    verify, load, arrived = verifier.verify, keys.load, 0

    async def counted(headers: Mapping[str, str], body: bytes) -> Signed:
        nonlocal arrived
        arrived += 1
        return await verify(headers, body)

    async def all_there() -> bool | None:
        return True if arrived >= LOAD else None

    async def held_up() -> Sequence[VerifyKey]:
        await eventually(all_there)  # the fetch takes as long as it takes all of them to come
        return await load()

    monkeypatch.setattr(verifier, "verify", counted)
    monkeypatch.setattr(keys, "load", held_up)
    again = f"{world.sandbox.fal_url}/sandbox/redeliver/{request['request_id']}"
    answer = await world.http.post(again, params={"times": str(LOAD)})
    assert answer.json()["statuses"] == [200] * LOAD
    assert (await world.counts())["jwks"] == 2
    await world.until(await world.submit(), "completed")
    assert (await world.counts())["jwks"] == 2


async def test_a_flood_of_forgeries_costs_two_key_set_fetches_and_nobody_waits_for_it(
    world: World,
) -> None:
    await world.grant(100)
    job = await silent_job(world)
    forger = Signer(SigningKey.generate())

    async def forge(number: int) -> int:
        body = json.dumps({"status": "OK", "n": number}).encode()
        return (await deliver(world, job.job_id, body, forger.headers(body))).status_code

    answers = await asyncio.gather(*(forge(each) for each in range(200)))
    assert set(answers) == {401}
    assert (await world.counts())["jwks"] <= 2
    assert await inbox(world) == []
    body = job.message()
    good = await deliver(world, job.job_id, body, Signer().headers(body, request_id=job.request_id))
    assert good.status_code == 200


async def test_without_a_pinned_account_any_account_of_fals_passes(s3: ObjectStore) -> None:
    """Why FAL_USER_ID should be set: what then still stands is the token."""
    async with open_world(s3, sandbox=KNOWN_KEY, FAL_USER_ID="") as world:
        await world.grant(100)
        job_id = await world.submit(brand=SILENT)
        other, body = Signer(user_id="github|stranger"), b'{"status": "OK"}'
        assert (await deliver(world, job_id, body, other.headers(body))).status_code == 200
        path = "/api/fal/webhook/v-any.x"
        answer = await deliver(world, "", body, other.headers(body), path=path)
        check_problem(answer, 401, "not_authentic")


async def test_a_first_try_that_fal_gave_up_on_is_repeated_by_fal_and_recorded_once(
    s3: ObjectStore,
) -> None:
    """The schedule of fal's retries, compressed: our 503 first, 200 later, one row."""
    quick = replace(KNOWN_KEY, time_scale=0.01)
    async with open_world(s3, sandbox=quick) as world:
        await world.grant(100)
        await world.http.post(f"{world.sandbox.fal_url}/sandbox/jwks", json={"fault": "down"})
        job_id = await world.submit()

        async def tried() -> bool | None:
            (request,) = await world.requests() or [{"deliveries": []}]
            return any(each["status"] == 503 for each in request["deliveries"]) or None

        await eventually(tried)
        await world.http.post(f"{world.sandbox.fal_url}/sandbox/jwks", json={"fault": None})
        world.runtime.fal_keys._tried_at = float("-inf")
        await world.until(job_id, "completed")
        assert len(await inbox(world, job_id)) == 1


@on_shared
async def test_a_caller_who_hangs_up_in_the_middle_of_a_delivery_leaves_no_row_and_no_alarm(
    shared: World, caplog: pytest.LogCaptureFixture
) -> None:
    url: httpx.URL = shared.http.base_url
    head = f"POST {webhook_path('v-hung')} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(head.encode() + b"{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    for _ in range(3):
        assert (await shared.http.get("/health/live")).status_code == 200
    assert await inbox(shared, "v-hung") == []
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []
