"""DELETE /api/library/{jobId}: whose, when, and what it looks like afterwards."""

import pytest

from tests.web.deliveries import silent_job
from tests.web.forms import check_problem
from tests.world import World

on_shared = pytest.mark.asyncio(loop_scope="package")

ANA, BEN = "ana.deletes@example.com", "ben.deletes@example.com"


def path(job_id: str) -> str:
    return f"/api/library/{job_id}"


@on_shared
async def test_an_unfinished_job_is_not_deleted_and_a_deleted_one_is_not_there(
    shared: World,
) -> None:
    """F70, F81: 409 before its end, 204 once, 404 ever after; somebody else's is a 404 always."""
    await shared.grant(100, ANA)
    silent = await silent_job(shared, ANA)
    mine, others = shared.headers(ANA), shared.headers(BEN)
    here = path(silent.job_id)

    check_problem(await shared.http.delete(here), 401, "sign_in_required")
    nowhere = check_problem(
        await shared.http.delete(path("nowhere"), headers=mine), 404, "not_found"
    )
    foreign = check_problem(await shared.http.delete(here, headers=others), 404, "not_found")
    check_problem(await shared.http.delete(here, headers=mine), 409, "still_running")
    assert (await shared.status(silent.job_id, ANA))["status"] == "processing"

    await shared.runtime.store.make_due(silent.job_id)
    await shared.sweep()
    await shared.until(silent.job_id, "completed", email=ANA)
    answer = await shared.http.delete(here, headers=mine)
    assert (answer.status_code, answer.content) == (204, b"")

    again = check_problem(await shared.http.delete(here, headers=mine), 404, "not_found")
    assert foreign == again == nowhere
    cancel = await shared.http.post(
        "/api/templates/video/cancel", json={"jobId": silent.job_id}, headers=mine
    )
    query = {"jobId": silent.job_id}
    for url in ("/api/templates/video/status", "/api/templates/video/events"):
        answer = await shared.http.get(url, params=query, headers=mine)
        assert check_problem(answer, 404, "not_found") == nowhere, url
    assert check_problem(cancel, 404, "not_found") == nowhere
    library = (await shared.http.get("/api/library", headers=mine)).json()
    assert library == {"items": [], "nextCursor": None}
    credits_view = (await shared.http.get("/api/credits", headers=mine)).json()
    assert credits_view["available"] == 60
    assert [each["kind"] for each in credits_view["entries"]] == ["capture", "reserve", "grant"]


@on_shared
@pytest.mark.parametrize(
    ("job_id", "status", "code"),
    [
        ("a%20b", 404, "not_found"),
        ("x" * 65, 404, "not_found"),
        ("v%E2%82%AC", 404, "not_found"),
        ("a/b", 404, "not_found"),
        ("", 404, "not_found"),
    ],
)
async def test_what_is_no_jobs_name_is_not_there(
    shared: World, job_id: str, status: int, code: str
) -> None:
    answer = await shared.http.delete(path(job_id), headers=shared.headers(ANA))
    check_problem(answer, status, code)


@on_shared
@pytest.mark.parametrize("amount", [100, 1])
async def test_a_closed_account_orders_nothing(shared: World, amount: int) -> None:
    """Nor is anybody told to buy credits for it."""
    email = f"closed-{amount}@example.com"
    await shared.grant(amount, email)
    assert await shared.runtime.store.close_account(email)
    check_problem(await shared.post(email=email), 403, "account_closed")
    assert (await shared.runtime.store.balance(email)).available == amount
