"""Health, and what the service says where no route or no luck is."""

import re
from typing import Any

import pytest

from service.adapters.rows import inbox_record, job_record
from service.sandbox.object_store import ObjectStore
from service.web.health import INBOX_PATIENCE_S
from tests.web.conftest import KNOWN_KEY
from tests.web.deliveries import inbox, silent_job
from tests.web.forms import check_problem
from tests.web.reading import STATUS_PATH, ask
from tests.world import World, open_world

on_shared = pytest.mark.asyncio(loop_scope="package")


@on_shared
async def test_a_healthy_process_is_live_and_ready(shared: World) -> None:
    assert (await shared.http.get("/health/live")).json() == {"status": "ok"}
    answer = await shared.http.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {
            "database": "ok",
            "migrations": "ok",
            "keySet": "ok",
            "inbox": "ok",
            "webhook": "not checked",
        },
    }


async def test_a_delivery_that_has_waited_too_long_makes_the_process_unready_and_says_so(
    s3: ObjectStore,
) -> None:
    async with open_world(s3, sandbox=KNOWN_KEY) as world:

        async def waiting(name: str, received_s: float, due_s: float) -> None:
            await world.runtime.store.database.write(
                "CREATE $entry SET job = $job, attempt = 1, request_id = 'r', user_id = 'u',"
                " body = $body, stale = false, received_at = time::now() - <duration>$received,"
                " due = time::now() - <duration>$due",
                entry=inbox_record(name),
                job=job_record("v-none"),
                body=b"{}",
                received=f"{received_s:.0f}s",
                due=f"{due_s:.0f}s",
            )

        await waiting("young", INBOX_PATIENCE_S - 60, 1)
        assert (await world.http.get("/health/ready")).status_code == 200
        await waiting("old", INBOX_PATIENCE_S + 60, 1)
        checks = check_problem(await world.readiness(503), 503, "not_ready")["checks"]
        assert re.fullmatch(r"a delivery has waited 36\d s", checks.pop("inbox"))
        assert set(checks.values()) == {"ok", "not checked"}
        assert (await world.http.get("/health/live")).status_code == 200
        await world.runtime.store.park_delivery("old", "a person looks")
        await world.readiness(200)


async def test_a_delivery_put_off_again_and_again_still_counts_as_waiting(
    s3: ObjectStore,
) -> None:
    """Each look at an entry moves its due time on; readiness must not be fooled by that."""
    async with open_world(s3, sandbox=KNOWN_KEY) as world:
        await world.runtime.store.database.write(
            "CREATE $entry SET job = $job, attempt = 1, request_id = 'r', user_id = 'u',"
            " body = $body, stale = false, received_at = time::now() - 1h, attempts = 3,"
            " due = time::now() + 20s",
            entry=inbox_record("retried"),
            job=job_record("v-none"),
            body=b"{}",
        )
        assert len(await inbox(world)) == 1
        check_problem(await world.http.get("/health/ready"), 503, "not_ready")


@on_shared
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/api/templates/video/status/", 404, "not_found"),
        ("GET", "/api//templates", 404, "not_found"),
        ("GET", "/API/TEMPLATES", 404, "not_found"),
        ("GET", "/api/fal/webhook", 404, "not_found"),
        ("POST", "/api/fal/webhook/", 404, "not_found"),
        ("POST", "/api/fal/webhook/a/b", 404, "not_found"),
        ("POST", "/api/fal/webhook/a%2Fb", 404, "not_found"),
        ("GET", "/api/fal/webhook/x", 405, "method_not_allowed"),
        ("PUT", "/api/fal/webhook/x/", 405, "method_not_allowed"),
        ("GET", "/api/templates/video", 405, "method_not_allowed"),
        ("POST", "/api/templates", 405, "method_not_allowed"),
        ("DELETE", "/api/credits", 405, "method_not_allowed"),
        ("POST", "/health/live", 405, "method_not_allowed"),
    ],
)
async def test_an_unknown_path_or_method_is_a_problem_and_never_a_redirect(
    shared: World, method: str, path: str, status: int, code: str
) -> None:
    answer = await shared.http.request(method, path, headers=shared.headers())
    check_problem(answer, status, code)
    if status == 405:
        assert answer.headers["allow"]


async def test_a_bug_is_500_and_tells_the_caller_nothing_of_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.grant(100)
    job = await silent_job(world)

    async def broken(job_id: str) -> Any:
        raise RuntimeError(f"tell nobody about {job_id}")

    object.__setattr__(world.runtime.store, "job", broken)
    answer = await ask(world, job.job_id, "ana@example.com")
    found = check_problem(answer, 500, "internal_error")
    assert "tell nobody" not in str(found)
    assert any(each.getMessage() == "unexpected error" for each in caplog.records)


@on_shared
async def test_no_answer_names_the_server_software(shared: World) -> None:
    for path in ("/health/live", "/nope", STATUS_PATH):
        assert "server" not in (await shared.http.get(path)).headers
