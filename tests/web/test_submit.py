"""A good order: once per Idempotency-Key, bounded per account, answered before fal is asked."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from service.domain.job import JobState
from service.sandbox.object_store import ObjectStore
from tests.web.conftest import KNOWN_KEY
from tests.web.deliveries import SILENT
from tests.web.forms import (
    check_problem,
    fresh_email,
    image_part,
    jobs_of,
    jpeg,
    multipart,
    objects,
    order,
    order_part,
    send,
)
from tests.world import World, open_world, png

on_shared = pytest.mark.asyncio(loop_scope="package")
SILENT_ORDER = order(variables={"BRAND": SILENT})


@pytest.fixture
async def narrow(s3: ObjectStore) -> AsyncIterator[World]:
    """One unfinished job per account, and retired providers allowed."""
    async with open_world(
        s3, sandbox=KNOWN_KEY, MAX_IN_FLIGHT="1", ALLOW_RETIRED_PROVIDERS="true"
    ) as opened:
        yield opened


@on_shared
async def test_an_accepted_order_is_a_reserved_job_with_its_image_stored(shared: World) -> None:
    email = fresh_email()
    await shared.grant(100, email)
    answer = await shared.post(data=SILENT_ORDER, email=email)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told.keys() == {"jobId", "status", "credits"}
    assert (told["status"], told["credits"]) == ("pending", 40)
    balance = await shared.runtime.store.balance(email)
    assert (balance.available, balance.reserved) == (60, 40)
    assert await jobs_of(shared, email) == [told["jobId"]]
    job = await shared.runtime.store.job(told["jobId"])
    assert await objects(shared, email) == {job.start_image_key}


@on_shared
@pytest.mark.parametrize(
    ("part", "extension"),
    [
        (image_part(jpeg(), "image/jpeg"), "jpg"),
        (image_part(jpeg(), "image/png"), "jpg"),
        (image_part(None, "application/octet-stream", "../../etc/passwd"), "png"),
    ],
    ids=["a JPEG", "a JPEG called PNG", "a name like a path"],
)
async def test_an_image_is_stored_as_what_its_bytes_are(
    shared: World, part: tuple[str, tuple[str | None, bytes, str]], extension: str
) -> None:
    email = fresh_email()
    await shared.grant(100, email)
    body, headers = multipart(part, order_part(SILENT_ORDER))
    answer = await send(shared, email, body, headers)
    assert answer.status_code == 202, answer.text
    (key,) = await objects(shared, email)
    assert key.endswith(f".{extension}")
    assert "passwd" not in key


@on_shared
async def test_twenty_posts_under_one_key_make_one_job_and_one_request_at_fal(
    shared: World,
) -> None:
    """F10: a double click, a retry and two tabs are one order."""
    email = fresh_email()
    await shared.grant(1000, email)
    await shared.quiet()
    submits = (await shared.counts())["submits"]
    answers = await asyncio.gather(
        *(shared.post(data=SILENT_ORDER, email=email, key="click") for _ in range(20))
    )
    assert {each.status_code for each in answers} == {202}
    assert len({each.json()["jobId"] for each in answers}) == 1
    await shared.quiet()
    assert (await shared.counts())["submits"] - submits == 1
    balance = await shared.runtime.store.balance(email)
    assert (balance.available, balance.reserved) == (960, 40)
    assert len(await jobs_of(shared, email)) == 1
    assert len(await objects(shared, email)) == 1, "the losers took their images away"


@on_shared
@pytest.mark.parametrize(
    "other",
    [
        {"data": order(variables={"BRAND": "#sandbox:drop Other"})},
        {"data": order(variables={"BRAND": SILENT}, provider="seedance")},
        {"data": order(variables={"BRAND": SILENT}, duration=5)},
        {"data": SILENT_ORDER, "image": png("red")},
    ],
    ids=["another variable", "the provider named", "the duration named", "another image"],
)
async def test_another_order_under_a_used_key_is_a_conflict_that_changes_nothing(
    shared: World, other: dict[str, object]
) -> None:
    """F10: 409, whatever differs."""
    email = fresh_email()
    await shared.grant(1000, email)
    first = await shared.submit(data=SILENT_ORDER, email=email, key="k")
    answer = await shared.post(email=email, key="k", **other)  # type: ignore[arg-type]
    check_problem(answer, 409, "idempotency_key_reused")
    assert await jobs_of(shared, email) == [first]
    assert len(await objects(shared, email)) == 1
    assert (await shared.runtime.store.balance(email)).available == 960


@on_shared
async def test_the_same_key_of_another_owner_makes_another_job(shared: World) -> None:
    one, other = fresh_email(), fresh_email()
    await shared.grant(100, one)
    await shared.grant(100, other)
    ids = [
        await shared.submit(data=SILENT_ORDER, email=email, key="same") for email in (one, other)
    ]
    assert ids[0] != ids[1]
    assert await jobs_of(shared, other) == [ids[1]]


@on_shared
async def test_one_owner_in_two_spellings_is_one_account_under_a_key(shared: World) -> None:
    email = fresh_email()
    await shared.grant(100, email)
    first = await shared.submit(data=SILENT_ORDER, email=email, key="same")
    assert await shared.submit(data=SILENT_ORDER, email=email.upper(), key="same") == first


@on_shared
async def test_a_repeat_is_answered_when_the_credits_are_gone(shared: World) -> None:
    email = fresh_email()
    await shared.grant(40, email)
    first = await shared.submit(data=SILENT_ORDER, email=email, key="k")
    assert await shared.submit(data=SILENT_ORDER, email=email, key="k") == first


@on_shared
async def test_of_ten_orders_with_credit_for_one_one_is_accepted(shared: World) -> None:
    """F11: one 202, the rest 402, one request at fal."""
    email = fresh_email()
    await shared.grant(40, email)
    await shared.quiet()
    submits = (await shared.counts())["submits"]
    answers = await asyncio.gather(
        *(shared.post(data=SILENT_ORDER, email=email) for _ in range(10))
    )
    assert sorted(each.status_code for each in answers) == [202, *[402] * 9]
    await shared.quiet()
    assert (await shared.counts())["submits"] - submits == 1
    balance = await shared.runtime.store.balance(email)
    assert (balance.available, balance.reserved) == (0, 40)
    assert len(await objects(shared, email)) == 1


async def test_too_many_in_flight_is_refused_with_when_to_try_again(narrow: World) -> None:
    email, other = fresh_email(), fresh_email()
    await narrow.grant(1000, email)
    await narrow.submit(brand=SILENT, email=email)
    answer = await narrow.post(brand=SILENT, email=email)
    check_problem(answer, 429, "too_many_in_flight")
    assert int(answer.headers["retry-after"]) > 0
    assert len(await jobs_of(narrow, email)) == 1
    assert len(await objects(narrow, email)) == 1
    assert (await narrow.runtime.store.balance(email)).available == 960
    await narrow.grant(1000, other)
    await narrow.submit(brand=SILENT, email=other)


async def test_a_retired_provider_can_be_allowed_and_is_listed_then(narrow: World) -> None:
    await narrow.grant(1000)
    data = order(provider="sora2", duration=4, variables={"BRAND": SILENT})
    job_id = await narrow.submit(data=data)
    job = await narrow.until_state(job_id, "submitted", "failed")
    assert job.state is JobState.SUBMITTED, job.error
    assert (job.fal_model, job.credits) == ("fal-ai/sora-2/image-to-video", 24)
    listed = await narrow.http.get("/api/templates", headers=narrow.headers())
    names = {each["name"] for each in listed.json()["templates"][0]["providers"]}
    assert {"sora2", "sora2_pro"} <= names


async def test_when_the_bucket_is_away_an_order_is_refused_for_now_and_reserves_nothing(
    s3: ObjectStore,
) -> None:
    async with open_world(s3, sandbox=KNOWN_KEY, R2_BUCKET="no-such-bucket") as world:
        await world.grant(100)
        balance = await world.runtime.store.balance("ana@example.com")
        answer = await world.post()
        check_problem(answer, 503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        await world.quiet()
        assert await world.runtime.store.balance("ana@example.com") == balance
        assert await jobs_of(world, "ana@example.com") == []
        assert (await world.counts())["submits"] == 0


@on_shared
async def test_an_order_sent_as_a_json_blob_is_an_order_too(shared: World) -> None:
    """What `form.append("data", new Blob([json], {type: "application/json"}))` sends."""
    email = fresh_email()
    await shared.grant(100, email)
    order = {"templateSlug": "night-life-roller", "variables": {"BRAND": SILENT}}
    answer = await shared.http.post(
        "/api/templates/video",
        headers=shared.headers(email),
        files={
            "startImage": ("start.png", png(), "image/png"),
            "data": ("blob", json.dumps(order), "application/json"),
        },
    )
    assert answer.status_code == 202, answer.text
