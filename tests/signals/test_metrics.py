"""/metrics: who may read it, what it costs, and that what goes wrong shows in it."""

import asyncio
import re
from dataclasses import replace

import pytest

from service.adapters.metrics import FRESH_FOR_S
from service.adapters.queries import load_queries
from service.domain.pauses import Activity
from tests.faults.steps import rendered, storage_client, sweep_now
from tests.signals.scraping import BEARER, TOKEN, Scraped, answered, scrape
from tests.web.deliveries import Signer, Silent, deliver, make_due, silent_job
from tests.web.webhooks import database_away
from tests.world import World


async def test_a_locked_key_at_fal_shows(world: World) -> None:
    before = await scrape(world)
    await world.grant(100)
    await world.faults("submit_403")
    await world.submit()
    await world.quiet()

    after = await scrape(world)
    assert after("pause", activity="submitting") == 1
    assert after("pause", activity="finalising") == 0
    assert after("jobs", state="reserved") == before("jobs", state="reserved") + 1
    assert after("fal_errors_total", {"call": "submit", "class": "locked"}) == 1
    name = "submissions_total"
    assert after(name, outcome="not_accepted") == before(name, outcome="not_accepted") + 1

    await world.runtime.store.resume(Activity.SUBMITTING)
    await world.sweep()
    resumed = await scrape(world)
    assert resumed("pause", activity="submitting") == 0
    assert resumed(name, outcome="accepted") == after(name, outcome="accepted") + 1


async def test_a_forged_delivery_is_counted_by_what_it_lacks(world: World) -> None:
    """F25: each refusal is counted, under the one name of its reason, and stores nothing."""
    job = await silent_job_of(world)
    body, good = job.message(), Signer().headers(job.message(), request_id=job.request_id)
    before = await scrape(world)
    forged = {**good, "x-fal-webhook-signature": "ab" * 64}
    cut = {name: value for name, value in good.items() if "signature" not in name}

    assert (await deliver(world, job.job_id, body, forged)).status_code == 401
    assert (await deliver(world, job.job_id, body, cut)).status_code == 401
    away = await deliver(world, job.job_id, body, good, path="/api/fal/webhook/nothing")
    assert away.status_code == 401
    large = body.ljust(world.settings.max_webhook_bytes + 1)
    assert (await deliver(world, job.job_id, large, good)).status_code == 413

    after = await scrape(world)
    for reason in ("signature", "header", "address", "size"):
        name = "refused_deliveries_total"
        assert after(name, reason=reason) - before(name, reason=reason) == 1, reason
    assert counted(before, after, "refused") == 4
    assert counted(before, after, "recorded") == 0
    assert after("inbox_waiting") == 0


async def test_deliveries_of_a_wrong_clock_are_counted(world: World) -> None:
    """F28: a stale delivery is counted beside being recorded: the alarm's only sign of it."""
    job = await silent_job_of(world)
    body, before = job.message(), await scrape(world)
    late = Signer().headers(body, request_id=job.request_id, age_s=600)
    for _ in range(2):
        assert (await deliver(world, job.job_id, body, late)).status_code == 200
    await world.quiet()

    after = await scrape(world)
    assert after("stale_deliveries_total") - before("stale_deliveries_total") == 2
    assert counted(before, after, "recorded") == 1
    assert counted(before, after, "repeated") == 1
    assert after("ack_seconds_count") - before("ack_seconds_count") == 2


async def test_a_lost_webhook_shows_as_a_job_that_is_due(world: World) -> None:
    job = await silent_job_of(world)
    before = await scrape(world)
    assert before("at_fal") >= 1
    await make_due(world, job.job_id)

    due = await scrape(world)
    assert due("due_jobs") >= before("due_jobs") + 1
    assert due("due_oldest_seconds") >= 1

    await sweep_now(world, job.job_id)
    await world.until_state(job.job_id, "ready")
    after = await scrape(world)
    settled = after("finalisations_total", outcome="settled")
    assert settled > before("finalisations_total", outcome="settled")
    size = (await world.runtime.store.job(job.job_id)).object_size
    assert size is not None
    assert after("finalised_bytes_total") - before("finalised_bytes_total") >= size
    assert after("sweeps_total") > before("sweeps_total")


async def test_what_waits_for_a_person_shows(world: World) -> None:
    before = await scrape(world)
    job = await silent_job_of(world)
    body = b"{ not JSON"
    good = Signer().headers(body, request_id=job.request_id)
    assert (await deliver(world, job.job_id, body, good)).status_code == 200
    await world.runtime.store.park(await world.runtime.store.job(job.job_id), "looks odd")
    await world.quiet()

    after = await scrape(world)
    assert after("parked", kind="delivery") == before("parked", kind="delivery") + 1
    assert after("parked", kind="job") == before("parked", kind="job") + 1
    assert after("jobs", state="submitted") == before("jobs", state="submitted") + 1


async def test_a_bucket_that_refuses_us_shows(world: World) -> None:
    job_id = await rendered(world)
    before = await scrape(world)
    bucket = world.settings.r2_bucket
    async with storage_client(world) as client:
        for each in (await client.list_objects_v2(Bucket=bucket)).get("Contents", []):
            await client.delete_object(Bucket=bucket, Key=each["Key"])
        await client.delete_bucket(Bucket=bucket)
        await sweep_now(world, job_id)
        after = await scrape(world)
        await client.create_bucket(Bucket=bucket)
    await world.runtime.store.resume(Activity.FINALISING)

    assert after("pause", activity="finalising") == 1
    refused = {"call": "PutObject", "class": "StorageRefused"}
    assert after("r2_errors_total", refused) > (before.get("r2_errors_total", **refused) or 0)
    put_off = after("finalisations_total", outcome="put_off")
    assert put_off > before("finalisations_total", outcome="put_off")


async def test_without_the_database_the_answer_says_that_it_is_away(world: World) -> None:
    async with database_away(world):
        away = await scrape(world)
    assert away("up_database") == 0
    assert away.get("due_jobs") is None, "nothing is shown that nobody knows"
    assert away("sweeps_total") >= 0
    assert (await scrape(world))("up_database") == 1


async def test_a_flood_of_scrapes_costs_the_database_one_query(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.adapters.metrics.FRESH_FOR_S", FRESH_FOR_S)
    monkeypatch.setattr(world.runtime.metrics._standing, "_read_at", float("-inf"))
    await world.quiet()
    before = world.runtime.store.database.calls
    answers = await asyncio.gather(*(answered(world) for _ in range(40)))
    assert {each.status_code for each in answers} == {200}
    assert world.runtime.store.database.calls == before + 1


async def test_ended_jobs_and_handled_deliveries_cost_a_scrape_nothing(world: World) -> None:
    """Each part of the query finds its rows by an index of what is unfinished."""
    query = load_queries()["read_standing"]
    parts = re.findall(r"\((SELECT[^()]*?(?:\([^()]*\)[^()]*?)*)\)(?=[;,]|\))", query)
    large = [each for each in parts if re.search(r"FROM (video_job|inbox|write_off)", each)]
    assert len(large) == len(re.findall(r"FROM (?:video_job|inbox|write_off)", query)) >= 8
    for part in large:
        plan = str(await world.runtime.store.database.read(f"{part} EXPLAIN"))
        assert "IndexScan" in plan, part
        assert "TableScan" not in plan, part


async def test_routes_are_counted_by_their_pattern(world: World) -> None:
    """A path of a stranger's choosing makes no series of its own."""
    for path in ("/api/library/abc", "/api/library/def", "/nowhere/at/all", "/frontend/none.js"):
        await world.http.request("DELETE", path)
    await world.http.request("PROPFIND", "/api/credits")
    text = (await answered(world)).text
    assert 'code="401",method="DELETE",route="/api/library/{job_id}"' in text
    assert 'method="other"' in text
    for said in ("abc", "nowhere", "BREW", "none.js"):
        assert said not in text


async def test_the_metrics_need_their_token(world: World) -> None:
    assert (await answered(world, BEARER)).status_code == 200
    for wrong in (f"Bearer {TOKEN}x", "Bearer", "Basic abc", f"bearer{TOKEN}", b"Bearer \xe9"):
        refused = await answered(world, wrong)
        assert refused.status_code == 404, wrong
    assert (await world.http.get("/metrics")).status_code == 404


async def test_without_a_token_only_this_machine_reads_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    http, bare = world.http, world.settings.model_copy(update={"metrics_token": None})
    runtime = replace(world.runtime, settings=bare)
    monkeypatch.setitem(world.app.state._state, "runtime", runtime)
    assert (await http.get("/metrics")).status_code == 200
    tunnelled = {"Host": "fal-video.example"}
    assert (await http.get("/metrics", headers=tunnelled)).status_code == 404
    elsewhere = {"Origin": "https://evil.example"}
    assert (await http.get("/metrics", headers=elsewhere)).status_code == 404

    production = bare.model_copy(update={"environment": "production"})
    guarded = replace(runtime, settings=production)
    monkeypatch.setitem(world.app.state._state, "runtime", guarded)
    assert (await http.get("/metrics")).status_code == 404


async def silent_job_of(world: World) -> Silent:
    await world.grant(100)
    return await silent_job(world)


def counted(before: Scraped, after: Scraped, outcome: str) -> float:
    name = "deliveries_total"
    return after(name, outcome=outcome) - before(name, outcome=outcome)
