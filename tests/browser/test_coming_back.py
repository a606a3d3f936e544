"""Nobody has to stay: reload, close, sleep, lose the network or the sign-in, and come back."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from service.adapters.tokens import LEEWAY_S
from tests.browser.conftest import Visit
from tests.browser.site import CREDITS, PRICE, UNTIL_FINISHED, Site
from tests.browser.tab import BROKEN, Tab, Visitor
from tests.engine.proxy import Proxy, running_proxy

TABS = 10


async def test_a_reload_in_the_middle_goes_on_where_the_job_is(
    service: Site, visitor: Visitor, tab: Tab
) -> None:
    """F79: no second job, and the completion is told once, by the page that is there then."""
    job_id = await tab.animate("reloaded", UNTIL_FINISHED)
    tab.said.clear()
    await tab.page.reload()
    await tab.ends(job_id, "processing")
    await service.finish("reloaded")
    await tab.completes(job_id)
    assert tab.started() == []
    assert await service.calls("reloaded") == (1, 0)
    assert await service.money(visitor.email) == (CREDITS - PRICE, 0)


async def test_a_closed_tab_loses_nothing(service: Site, visitor: Visitor, tab: Tab) -> None:
    """F79: the job goes on without anybody; whoever opens the page later finds the video."""
    job_id = await tab.animate("closed", UNTIL_FINISHED)
    await tab.page.close()
    await service.finish("closed")
    await service.until(visitor.email, job_id, "completed")

    later = await visitor.tab(f"/#job={job_id}")
    await later.ends(job_id, "completed")
    await later.plays()
    assert await service.calls("closed") == (1, 0)


@pytest_asyncio.fixture(loop_scope="package")
async def line(service: Site) -> AsyncIterator[Proxy]:
    """A network between the page and the service, which a test can cut."""
    async with running_proxy(service.port) as proxy:
        yield proxy


async def cut(line: Proxy, tab: Tab) -> None:
    """Offline: what is open breaks off, which the browser alone would leave open."""
    tab.may(*BROKEN)
    await tab.page.context.set_offline(offline=True)
    await line.refuse()
    await expect(tab.at("#offline")).to_be_visible()


async def mend(line: Proxy, tab: Tab) -> None:
    await line.listen()
    await tab.page.context.set_offline(offline=False)
    await expect(tab.at("#offline")).to_be_hidden()


async def test_offline_for_a_while_and_back(service: Site, visitor: Visitor, line: Proxy) -> None:
    """F79: the job ends while there is no network; its page says so, and catches up."""
    tab = await visitor.tab(url=f"http://127.0.0.1:{line.port}")
    job_id = await tab.animate("offline", UNTIL_FINISHED)
    await cut(line, tab)
    await service.finish("offline")
    await service.until(visitor.email, job_id, "completed")
    assert tab.completed() == []

    await mend(line, tab)
    await tab.completes(job_id)
    await tab.plays()
    assert await service.calls("offline") == (1, 0)


@asynccontextmanager
async def asleep(browser: Browser) -> AsyncIterator[None]:
    """The whole browser stands still, as when its laptop's lid is shut: no process of it runs."""
    session = await browser.new_browser_cdp_session()
    found = await session.send("SystemInfo.getProcessInfo")
    await session.detach()
    ids = [int(each["id"]) for each in found["processInfo"]]
    for each in ids:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in ids:
            os.kill(each, signal.SIGCONT)


async def test_a_laptop_that_sleeps_through_the_end_wakes_up_to_the_video(
    service: Site, browser: Browser, visitor: Visitor, tab: Tab
) -> None:
    """F79: nothing of the browser runs until the job is over; then it completes, once."""
    job_id = await tab.animate("asleep", UNTIL_FINISHED)
    async with asleep(browser):
        await service.finish("asleep")
        await service.until(visitor.email, job_id, "completed")
    await tab.completes(job_id)
    await tab.plays()
    assert await service.calls("asleep") == (1, 0)


async def test_two_tabs_and_a_second_device_each_see_one_job_through(
    service: Site, visit: Visit, visitor: Visitor, tab: Tab
) -> None:
    """F79: each completes once, at the price of one: one submission, no status call at fal."""
    job_id = await tab.animate("everywhere", UNTIL_FINISHED)
    device = await visit(visitor.email)
    tabs = [tab, await visitor.tab(f"/#job={job_id}"), await device.tab(f"/#job={job_id}")]
    for each in tabs:
        await each.ends(job_id, "processing")
    await service.finish("everywhere")
    for each in tabs:
        await each.completes(job_id)
    assert await service.calls("everywhere") == (1, 0)
    assert await service.money(visitor.email) == (CREDITS - PRICE, 0)


@pytest.mark.thorough
async def test_ten_tabs_on_one_job_cost_fal_nothing(service: Site, visitor: Visitor) -> None:
    """All of them open while it is made and see its end: one submission, no status call."""
    job_id = await service.order(visitor.email, "ten-tabs", UNTIL_FINISHED)
    opening = (visitor.tab(f"/#job={job_id}") for _ in range(TABS))
    tabs = await asyncio.gather(*opening)
    for each in tabs:
        await each.ends(job_id, "processing")
    await service.finish("ten-tabs")
    for each in tabs:
        await each.completes(job_id)
    assert await service.calls("ten-tabs") == (1, 0)


async def test_a_sign_in_that_runs_out_while_waiting_is_said_and_harms_no_job(
    service: Site, visitor: Visitor, line: Proxy
) -> None:
    """F80: a clear message and no spinner; signed in again, the video is there."""
    tab = await visitor.tab(url=f"http://127.0.0.1:{line.port}")
    tab.may_answer(401)
    tab.may(*BROKEN)
    # The stream has to be open: one that is still on its way with the old sign-in would outlive it.
    async with tab.page.expect_response(lambda answer: "/events" in answer.url):
        job_id = await tab.animate("expired", UNTIL_FINISHED)
    await visitor.sign_in(exp=int(time.time()) - LEEWAY_S - 1)
    line.cut()  # the stream ends, as each does some time: the page has to come back
    await expect(tab.at("#signed-out")).to_be_visible()
    await expect(tab.at("#signed-out")).to_contain_text("Sign in again")
    await expect(tab.at("#progress-dialog")).to_be_hidden()
    assert tab.completed() == []

    await service.finish("expired")
    await service.until(visitor.email, job_id, "completed")
    await visitor.sign_in()
    await tab.at("#signed-out").get_by_role("button").click()
    await expect(tab.at("#signed-out")).to_be_hidden()
    await tab.ends(job_id, "completed")
    assert await service.money(visitor.email) == (CREDITS - PRICE, 0)
