"""The queue as fal documents it: submit, status, result, cancel, and their refusals."""

from typing import Any

import httpx
import pytest

from service.sandbox.settings import SandboxSettings
from tests.sandbox.conftest import StartUser
from tests.sandbox.fal_user import KLING, SEEDANCE, FalUser

SORA = "fal-ai/sora-2/image-to-video"


pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_submission_answers_three_urls_of_owner_and_app_only(user: FalUser) -> None:
    handle = await user.accepted()

    base = f"{user.sandbox.fal_url}/fal-ai/bytedance/requests/{handle['request_id']}"
    assert handle["status"] == "IN_QUEUE"
    assert handle["gateway_request_id"] == handle["request_id"]
    assert handle["response_url"] == base
    assert handle["status_url"] == f"{base}/status"
    assert handle["cancel_url"] == f"{base}/cancel"
    assert handle["queue_position"] == 0


async def test_a_request_goes_through_the_documented_states(start_user: StartUser) -> None:
    user = await start_user(SandboxSettings(frame_size=(64, 48), fps=6, slots=1))
    first = await user.accepted("delay=60")
    second, third = await user.accepted("drop"), await user.accepted("drop")

    running = await user.in_progress(first)
    assert running["status"] == "IN_PROGRESS"
    assert running["logs"]
    waiting = await user.http.get(third["status_url"])
    assert (waiting.status_code, waiting.json()["status"]) == (202, "IN_QUEUE")
    assert waiting.json()["queue_position"] == 1
    assert third["queue_position"] == 1
    assert (await user.http.get(second["response_url"])).status_code == 400

    assert (await user.http.put(first["cancel_url"])).status_code == 202
    done = await user.completed(third)
    assert done["status"] == "COMPLETED"
    assert done["logs"] == []
    assert done["metrics"]["inference_time"] > 0
    assert "error" not in done


async def test_the_result_is_the_video_and_a_seed_no_double_can_hold(user: FalUser) -> None:
    handle = await user.accepted()
    await user.completed(handle)

    for url in (handle["response_url"], f"{handle['response_url']}/response"):
        result = (await user.http.get(url)).json()
        assert set(result) == {"video", "seed"}
        assert int(float(result["seed"])) != result["seed"] or result["seed"] > 2**53
        assert set(result["video"]) == {"url", "content_type", "file_name", "file_size"}


async def test_the_full_endpoint_path_answers_405(user: FalUser) -> None:
    handle = await user.accepted()

    answer = await user.http.get(f"/{SEEDANCE}/requests/{handle['request_id']}/status")

    assert answer.status_code == 405


@pytest.mark.parametrize("app", ["fal-ai/bytedance", "fal-ai/kling-video"])
async def test_an_unknown_id_or_another_apps_id_answers_404(user: FalUser, app: str) -> None:
    handle = await user.accepted()
    request_id = handle["request_id"] if app == "fal-ai/kling-video" else "no-such"

    for call in (
        user.http.get(f"/{app}/requests/{request_id}/status"),
        user.http.get(f"/{app}/requests/{request_id}"),
        user.http.put(f"/{app}/requests/{request_id}/cancel"),
    ):
        answer = await call
        assert (answer.status_code, answer.json()) == (404, {"status": "NOT_FOUND"})


async def test_an_unknown_endpoint_and_an_unknown_page_answer_404(user: FalUser) -> None:
    assert (await user.submit(endpoint="fal-ai/no-such-model")).status_code == 404
    assert (await user.http.get("/nothing/here")).status_code == 404


@pytest.mark.parametrize("header", ["", "Bearer abc", "Key", "Basic Key"])
async def test_any_other_authorisation_answers_401(user: FalUser, header: str) -> None:
    handle = await user.accepted()
    headers = {"Authorization": header}

    for answer in (
        await user.http.post(f"/{SEEDANCE}", json={}, headers=headers),
        await user.http.get(handle["status_url"], headers=headers),
        await user.http.get(handle["response_url"], headers=headers),
        await user.http.put(handle["cancel_url"], headers=headers),
    ):
        assert answer.status_code == 401
    assert (await user.counts())["accepted"] == 1


async def test_a_configured_key_is_the_only_one(start_user: StartUser) -> None:
    user = await start_user(SandboxSettings(fal_key="id:secret"))

    assert (await user.submit()).status_code == 200
    wrong = await user.http.post(f"/{SEEDANCE}", headers={"Authorization": "Key id:other"})
    assert wrong.status_code == 401


@pytest.mark.parametrize(
    ("endpoint", "change", "loc", "kind"),
    [
        (SEEDANCE, {"prompt": None}, ["body", "prompt"], "string_type"),
        (SEEDANCE, {"prompt": " "}, ["body", "prompt"], "string_too_short"),
        (SEEDANCE, {"image_url": 3}, ["body", "image_url"], "string_type"),
        (SEEDANCE, {"duration": "13"}, ["body", "duration"], "literal_error"),
        (SEEDANCE, {"duration": 5}, ["body", "duration"], "literal_error"),
        (KLING, {"duration": "6"}, ["body", "duration"], "literal_error"),
        (SORA, {"duration": "4"}, ["body", "duration"], "literal_error"),
        (KLING.replace("v2.5-turbo", "v3"), {}, ["body", "start_image_url"], "missing"),
    ],
)
async def test_an_invalid_input_answers_422_with_its_place(
    user: FalUser, endpoint: str, change: dict[str, Any], loc: list[str], kind: str
) -> None:
    answer = await user.submit(endpoint=endpoint, **{"duration": "5", **change})

    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert [(entry["loc"], entry["type"]) for entry in detail] == [(loc, kind)]
    assert detail[0]["msg"]
    assert (await user.counts())["accepted"] == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"[" * 100_000])
async def test_a_body_that_is_no_object_answers_422(user: FalUser, content: bytes) -> None:
    assert (await user.http.post(f"/{SEEDANCE}", content=content)).status_code == 422


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("bytedance/seedance-2.0/image-to-video", {"duration": "auto"}),
        ("fal-ai/bytedance/seedance/v1.5/pro/image-to-video", {"duration": "4"}),
        ("fal-ai/bytedance/seedance/v1/pro/fast/image-to-video", {"webhook_url": "ignored"}),
        ("fal-ai/kling-video/v2.6/pro/image-to-video", {"duration": "5", "start_image_url": "x"}),
        (SORA, {"duration": 4}),
        (f"{SORA}/pro", {"duration": 8}),
    ],
)
async def test_each_known_model_takes_its_own_input(
    user: FalUser, endpoint: str, body: dict[str, Any]
) -> None:
    handle = await user.accepted(endpoint=endpoint, **body)

    app = "/".join(endpoint.split("/")[:2])
    assert f"/{app}/requests/" in handle["status_url"]


async def test_a_queued_request_is_removed_by_a_cancel(start_user: StartUser) -> None:
    user = await start_user(SandboxSettings(frame_size=(64, 48), fps=6))
    handle = await user.accepted("queue=60")

    answer = await user.http.put(handle["cancel_url"])

    assert (answer.status_code, answer.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
    assert (await user.http.put(handle["cancel_url"])).status_code == 404
    assert (await user.http.get(handle["status_url"])).status_code == 404


async def test_a_running_request_that_is_cancelled_completes_as_failed(user: FalUser) -> None:
    handle = await user.accepted("delay=60")
    await user.in_progress(handle)

    assert (await user.http.put(handle["cancel_url"])).status_code == 202
    done = await user.completed(handle)

    assert done["error_type"] == "client_cancelled"
    assert (await user.http.get(handle["response_url"])).status_code == 499
    late = await user.http.put(handle["cancel_url"])
    assert (late.status_code, late.json()) == (400, {"status": "ALREADY_COMPLETED"})


async def test_an_ignored_cancel_still_makes_the_video(user: FalUser) -> None:
    handle = await user.accepted("cancel_ignored,queue=0.2")

    assert (await user.http.put(handle["cancel_url"])).status_code == 202

    assert "error" not in await user.completed(handle)


async def test_the_slots_are_never_exceeded(start_user: StartUser) -> None:
    user = await start_user(SandboxSettings(frame_size=(64, 48), fps=6, slots=2, render_s=0.05))
    handles = [await user.accepted("drop") for _ in range(6)]

    most, states = 0, [""]
    while set(states) != {"COMPLETED"}:
        states = [each["state"] for each in await user.requests()]
        most = max(most, states.count("IN_PROGRESS"))
    assert most <= 2
    listing = await user.http.get(
        "/v1/models/requests/by-endpoint", params={"endpoint_id": SEEDANCE}
    )
    assert len(listing.json()["items"]) == len(handles)
    assert all(item["duration"] >= 0.05 for item in listing.json()["items"])


async def test_listing_finds_a_request_by_its_input_page_by_page(user: FalUser) -> None:
    handles = [await user.accepted("drop", prompt=f"dog {n}") for n in range(5)]
    await user.completed(handles[0])
    params = {"endpoint_id": SEEDANCE, "limit": "2", "expand": "payloads"}

    pages: list[dict[str, Any]] = []
    while not pages or pages[-1]["has_more"]:
        cursor = {"cursor": pages[-1]["next_cursor"]} if pages else {}
        answer = await user.http.get("/v1/models/requests/by-endpoint", params=params | cursor)
        pages.append(answer.json())

    items = [item for page in pages for item in page["items"]]
    assert [len(page["items"]) for page in pages] == [2, 2, 1]
    assert [item["request_id"] for item in items] == [
        handle["request_id"] for handle in reversed(handles)
    ]
    assert [item["json_input"]["prompt"] for item in items[::4]] == ["dog 4", "dog 0"]
    assert items[4]["status_code"] == 200
    assert items[4]["json_output"]["video"]["url"]


async def test_listing_minds_its_window_its_key_and_its_parameters(user: FalUser) -> None:
    await user.accepted("drop")
    path = "/v1/models/requests/by-endpoint"

    async def listed(**params: str) -> httpx.Response:
        return await user.http.get(path, params={"endpoint_id": SEEDANCE, **params})

    assert [item["json_input"] for item in (await listed()).json()["items"]] == [None]
    assert (await listed(end="2020-01-01T00:00:00Z")).json()["items"] == []
    assert (await listed(start="2999-01-01")).json()["items"] == []
    assert (await listed(endpoint_id=KLING)).json()["items"] == []
    assert (await listed(start="yesterday")).status_code == 422
    assert (await user.http.get(path)).status_code == 422
    assert (await user.http.get(path, headers={"Authorization": ""})).status_code == 401


async def test_deleted_payloads_are_gone_with_their_file(user: FalUser) -> None:
    handle = await user.accepted("drop")
    await user.completed(handle)
    url = (await user.http.get(handle["response_url"])).json()["video"]["url"]

    path = f"/v1/models/requests/{handle['request_id']}/payloads"
    assert (await user.http.delete(path)).status_code == 200

    assert (await user.http.get(url)).status_code == 404
    assert (await user.http.get(handle["response_url"])).status_code == 404
    assert (await user.http.delete(path.replace(handle["request_id"], "x"))).status_code == 404
    assert (await user.http.delete(path, headers={"Authorization": ""})).status_code == 401


@pytest.mark.parametrize(("plan", "status"), [("payloads_503", 503), ("payloads_403", 403)])
async def test_a_deletion_fails_as_often_as_asked(user: FalUser, plan: str, status: int) -> None:
    handle = await user.accepted(f"drop,{plan}=2")
    path = f"/v1/models/requests/{handle['request_id']}/payloads"
    answers = [(await user.http.delete(path)).status_code for _ in range(3)]
    assert answers == [status, status, 200]


async def test_everything_is_counted_until_a_reset(user: FalUser) -> None:
    handle = await user.accepted()
    await user.completed(handle)
    await user.http.get((await user.http.get(handle["response_url"])).json()["video"]["url"])
    await user.http.put(handle["cancel_url"])
    await user.http.get(user.sandbox.jwks_url)
    await user.delivered(1)

    counts = await user.counts()
    assert counts["statuses"] >= 1
    assert counts | {"statuses": 1} == {
        "submits": 1,
        "accepted": 1,
        "statuses": 1,
        "results": 1,
        "cancels": 1,
        "listings": 0,
        "deletions": 0,
        "jwks": 1,
        "files": 1,
        "deliveries": 1,
    }
    [one] = await user.requests()
    assert one["webhook_url"] == f"{user.inbox.url}/hook?job=1"
    assert (one["results"], one["cancels"], one["files"]) == (1, 1, 1)

    await user.control("reset")
    assert set((await user.counts()).values()) == {0}
    assert await user.requests() == []
