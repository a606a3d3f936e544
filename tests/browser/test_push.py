"""Push is only the quick way: without it each video is seen to be complete all the same."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from service.sandbox.object_store import ObjectStore
from tests.browser.conftest import Visit
from tests.browser.proxies import running_proxies
from tests.browser.site import CREDITS, PRICE, UNTIL_FINISHED, Site, finish
from tests.world import open_world

STREAM, READ, HELD = "GET templates/video/events", "GET templates/video/status", "?wait"
HELD_BACK = "events held back"  # noticed after a silence, for which nobody waits every day
HELD_ALL_THE_SAME = {"events answered 404", "events answered 502"}
FRENZY = 12  # reads of one job at once: three after each news, to learn that none is held
# An answer that took a tenth of what it should be held counts as held: three more may follow it.
FRENZY_PER_S = 3 / 2.5
POLL_S = 3.0  # between two plain reads


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def proxies(
    service: Site, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, str]]:
    async with running_proxies(tmp_path_factory.mktemp("proxies"), service.url) as running:
        yield running


async def complete_behind(
    url: str, visit: Visit, service: Site, habit: str
) -> tuple[Counter[str], float]:
    """Order a video there and end it once the page hears of it in another way.

    What was asked, and within how many seconds.
    """
    brand = habit.replace(" ", "-")
    visitor = await visit()
    tab = await visitor.tab(url=url)
    tab.may_answer(404, 502)
    began = time.monotonic()
    job_id = await tab.animate(brand, UNTIL_FINISHED)
    if habit in HELD_ALL_THE_SAME:
        await tab.asks(READ + HELD)
    else:
        await tab.asks(READ, times=2)  # the first one is never held
        plain_at = time.monotonic()
        await tab.asks(READ, times=4)
        assert time.monotonic() - plain_at >= POLL_S, "two pauses, of which the first had begun"
    await service.finish(brand)
    await tab.completes(job_id)
    asked, took_s = tab.requests(), time.monotonic() - began
    assert await service.calls(brand) == (1, 0)
    assert await service.money(visitor.email) == (CREDITS - PRICE, 0)
    return asked, took_s


@pytest.mark.parametrize(
    "habits",
    [
        ("events answered 404",),
        pytest.param(
            ("events answered 502", "waiting forgotten", "waiting refused"),
            marks=pytest.mark.thorough,
        ),
    ],
)
async def test_pages_behind_proxies_that_break_push_complete_by_other_ways(
    service: Site, visit: Visit, proxies: dict[str, str], habits: tuple[str, ...]
) -> None:
    """F77: no stream, so held reads; no held reads, so plain ones, and not in a frenzy."""
    visits = await asyncio.gather(
        *(complete_behind(proxies[habit], visit, service, habit) for habit in habits)
    )
    for habit, (asked, took_s) in zip(habits, visits, strict=True):
        assert asked[STREAM] <= 2, habit
        assert asked[READ + HELD] + asked[READ] <= FRENZY + FRENZY_PER_S * took_s, habit


@pytest.mark.thorough
async def test_a_proxy_that_holds_events_back_is_noticed(
    service: Site, visit: Visit, proxies: dict[str, str]
) -> None:
    """F77: a stream that says nothing is left for held reads, before the job is over."""
    visitor = await visit()
    tab = await visitor.tab(url=proxies[HELD_BACK])
    async with tab.page.expect_request(lambda it: "wait=" in it.url, timeout=60_000):
        job_id = await tab.animate("held-back", "delay=100")
    await tab.at("#cancel-video").click()
    await tab.at("#cancel-discard").click()
    await tab.ends(job_id, "failed")
    assert await service.money(visitor.email) == (CREDITS, 0)


async def test_with_every_notification_lost_the_next_look_finds_the_end(
    s3: ObjectStore, visit: Visit
) -> None:
    """F77: nothing pokes the watcher, as where another process has made the video."""
    visitor = await visit()
    async with open_world(s3) as world:
        world.runtime.store._listeners.clear()
        await world.grant(CREDITS, visitor.email)
        tab = await visitor.tab(url=str(world.http.base_url).rstrip("/"))
        job_id = await tab.animate("unannounced", UNTIL_FINISHED)
        await tab.asks(STREAM)
        await finish(world.sandbox.fal_url, "unannounced")
        await tab.completes(job_id)
        assert tab.requests()[STREAM] == 1
        await tab.page.close()
        assert (await world.counts())["statuses"] == 0
