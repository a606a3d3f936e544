"""One click is one job; and jobs that end otherwise: cancelled, refused, late, unannounced."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from service.sandbox.object_store import ObjectStore
from tests.browser.conftest import Visit
from tests.browser.site import CREDITS, PRICE, UNTIL_FINISHED, Site
from tests.browser.tab import Tab, Visitor
from tests.world import World, open_world

LONGER_THAN_ANY_TEST = 100
RETURNED = re.compile(rf"{PRICE} credits")


async def cancels(tab: Tab, choice: str) -> None:
    """Ask to cancel, and say what is to happen if the video is made all the same."""
    await tab.at("#cancel-video").click()
    await expect(tab.at("#cancel-dialog")).to_be_visible()
    await tab.at(choice).click()


async def test_a_double_click_is_one_job_and_charged_once(
    service: Site, visitor: Visitor, tab: Tab
) -> None:
    """The button twice, at once: one request, one job, one charge."""
    await tab.fill("double-click", "delay=0.2")
    await tab.at("#animate").evaluate(
        "(it) => { it.click(); it.click(); it.form?.requestSubmit(); }"
    )
    job_id = await tab.started_job()
    await tab.completes(job_id)
    assert tab.requests()["POST templates/video"] == 1
    assert tab.started() == [job_id]
    assert [each["jobId"] for each in await service.library(visitor.email)] == [job_id]
    assert await service.calls("double-click") == (1, 0)
    assert await service.money(visitor.email) == (CREDITS - PRICE, 0)


@pytest.mark.parametrize(
    ("stage", "choice"),
    [
        ("delay", "#cancel-discard"),
        pytest.param("delay", "#cancel-keep", marks=pytest.mark.thorough),
        # A job that has left fal's queue has no webhook: the sweep asks, seconds later.
        pytest.param("queue", "#cancel-discard", marks=pytest.mark.thorough),
        pytest.param("queue", "#cancel-keep", marks=pytest.mark.thorough),
    ],
)
async def test_a_cancel_that_the_provider_follows_gives_the_credits_back(
    service: Site, visitor: Visitor, tab: Tab, stage: str, choice: str
) -> None:
    """Queued or running: fal stops it, and whatever the owner chose, nothing is paid."""
    brand = f"cancel-{stage}-{choice.removeprefix('#')}"
    job_id = await tab.animate(brand, f"{stage}={LONGER_THAN_ANY_TEST}")
    await cancels(tab, choice)
    await tab.ends(job_id, "failed")
    await expect(tab.at("#progress-dialog")).to_be_hidden()
    await expect(tab.at("#balance")).to_contain_text(str(CREDITS))
    assert await service.money(visitor.email) == (CREDITS, 0)
    assert tab.completed() == []


async def made_in_spite(service: Site, visit: Visit, choice: str) -> tuple[str, Tab, Visitor]:
    """A job whose provider was asked to stop, and is about to go on to the end all the same."""
    visitor = await visit()
    tab = await visitor.tab()
    job_id = await tab.animate(f"in-spite-{choice.removeprefix('#')}", "delay=3,cancel_ignored")
    await cancels(tab, choice)
    await expect(tab.at("#cancel-note")).to_be_visible()
    assert await service.money(visitor.email) == (CREDITS - PRICE, PRICE)
    return job_id, tab, visitor


@pytest.mark.thorough
async def test_a_video_that_is_made_in_spite_of_a_cancel_is_what_its_owner_chose(
    service: Site, visit: Visit
) -> None:
    """F69: the credits are held until fal's verdict; then keep pays and delivers, discard not."""
    (kept, keeping, keeper), (dropped, dropping, dropper) = await asyncio.gather(
        made_in_spite(service, visit, "#cancel-keep"),
        made_in_spite(service, visit, "#cancel-discard"),
    )
    await keeping.completes(kept)
    await dropping.ends(dropped, "failed")
    assert await service.money(keeper.email) == (CREDITS - PRICE, 0)
    assert await service.money(dropper.email) == (CREDITS, 0)
    assert dropping.completed() == []


async def test_a_video_that_is_made_already_plays_and_can_be_cancelled_no_longer(
    service: Site, visitor: Visitor, tab: Tab
) -> None:
    """Rendered while its owner is being asked about the cancel: it is delivered and paid for."""
    slowly = f"{UNTIL_FINISHED},bytes=100000,slow_file=50000"
    job_id = await tab.animate("too-late", slowly)
    await tab.at("#cancel-video").click()
    await expect(tab.at("#cancel-dialog")).to_be_visible()
    await service.finish("too-late")
    await tab.completes(job_id)
    await tab.plays()
    assert await service.money(visitor.email) == (CREDITS - PRICE, 0)


async def test_a_refused_prompt_is_explained_and_refunded(
    service: Site, visitor: Visitor, tab: Tab
) -> None:
    """A reason that people understand, once; the credits are back, and said to be."""
    job_id = await tab.animate("refused", "refuse")
    entry = tab.entry(job_id)
    await tab.ends(job_id, "failed")
    await expect(entry).to_contain_text(re.compile("refused|policy", re.IGNORECASE))
    await expect(entry).to_contain_text(RETURNED)
    await expect(tab.at("#progress-dialog")).to_be_hidden()
    await expect(tab.at("#balance")).to_contain_text(str(CREDITS))
    assert await service.money(visitor.email) == (CREDITS, 0)


@pytest_asyncio.fixture(loop_scope="package")
async def impatient(s3: ObjectStore, visitor: Visitor) -> AsyncIterator[World]:
    """A service that expects a video at once, and looks for what is overdue."""
    settings = {"EXPECTED_RENDER_S": "0.5", "RECONCILE_INTERVAL_S": "0.2"}
    async with open_world(s3, settings, reconciler=True) as world:
        await world.grant(CREDITS, visitor.email)
        yield world
        for tab in visitor.tabs:
            await tab.page.close()


async def test_a_render_that_takes_longer_than_usual_is_said_to(
    impatient: World, visitor: Visitor
) -> None:
    """The estimate is over: no zero that stands still, and no failure either."""
    tab = await visitor.tab(url=str(impatient.http.base_url).rstrip("/"))
    await tab.animate("slow", f"delay={LONGER_THAN_ANY_TEST}")
    await expect(tab.at("#progress-text")).to_contain_text(re.compile("longer than usual"))
    value = await tab.at("#progress-bar").evaluate("(it) => it.value / it.max")
    assert 0 < value <= 0.95
    assert tab.completed() == []


@pytest.mark.thorough
async def test_a_lost_webhook_delays_a_video_and_no_more(
    impatient: World, visitor: Visitor
) -> None:
    """F43: the sweep finds it; fal is asked for status and result once, whoever watches."""
    tab = await visitor.tab(url=str(impatient.http.base_url).rstrip("/"))
    await tab.completes(await tab.animate("lost-webhook", "drop"))
    counts = await impatient.counts()
    assert (counts["accepted"], counts["statuses"], counts["results"]) == (1, 1, 1)
    assert await impatient.money(visitor.email) == (CREDITS - PRICE, 0, PRICE)
