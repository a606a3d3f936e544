"""One service and one Chromium for all tests here; a user and a window for each of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from service.sandbox.object_store import ObjectStore
from tests.browser.operator_page import OPS_TOKEN, Operator
from tests.browser.site import Site, running_site
from tests.browser.tab import Tab, Visitor
from tests.loops import share_loop
from tests.parts import program
from tests.world import SOON_S, World, open_world

OPERATED: Final = {"OPS_TOKEN": OPS_TOKEN, "RECONCILE_INTERVAL_S": "0.3"}
Visit = Callable[..., Awaitable[Visitor]]

expect.set_options(timeout=SOON_S * 1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for this directory, as its browser and its service serve all of its tests."""
    share_loop(items, Path(__file__).parent)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    program("chromium")  # without a browser there is nobody to serve
    async with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def service_url(service: Site) -> str:
    """Where the service is; who comes without a sign-in is the development user."""
    return service.url


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium: none is ever downloaded."""
    path = program("chromium")
    async with async_playwright() as playwright:
        # Tests may run as root, where Chromium has no sandbox.
        chromium = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def window(browser: Browser) -> AsyncIterator[BrowserContext]:
    """The window that all tests use, one after the other: a new one costs a second each time."""
    context = await browser.new_context()
    await context.new_page()  # a window without a page would close
    yield context
    await context.close()


async def clean(window: BrowserContext) -> None:
    """As if it were new: nobody signed in, no page of an earlier test."""
    for page in window.pages[1:]:
        await page.close()
    await window.unroute_all()
    await window.set_offline(offline=False)
    await window.clear_cookies()


@pytest_asyncio.fixture(loop_scope="package")
async def visit(service: Site, browser: Browser, window: BrowserContext) -> AsyncIterator[Visit]:
    """Lets users in: new ones, or the one named `email`. Each has cookies of their own.

    What their consoles say wrong is a failure.
    """
    visitors: list[Visitor] = []
    async with AsyncExitStack() as stack:

        async def let_in(email: str | None = None) -> Visitor:
            if visitors:
                context = await browser.new_context()
                stack.push_async_callback(context.close)
            else:
                context = window
                stack.push_async_callback(clean, window)
            visitor = Visitor(site=service, email=email or service.new_user(), context=context)
            visitors.append(visitor)
            await visitor.sign_in()
            return visitor

        yield let_in
        wrong = [each for visitor in visitors for each in visitor.wrong()]
    assert wrong == []


@pytest_asyncio.fixture(loop_scope="package")
async def visitor(visit: Visit) -> Visitor:
    return await visit()


@pytest_asyncio.fixture(loop_scope="package")
async def tab(visitor: Visitor) -> Tab:
    """The designer, opened by a user with credits."""
    return await visitor.tab()


@pytest_asyncio.fixture(loop_scope="package")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page without a sign-in, for what is not the designer."""
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def world(s3: ObjectStore) -> AsyncIterator[World]:
    """One service for the operator page, which looks by itself for what is due."""
    async with open_world(s3, OPERATED, reconciler=True) as opened:
        await opened.grant(10_000)
        yield opened


@pytest_asyncio.fixture(loop_scope="package")
async def stranger(world: World, window: BrowserContext) -> AsyncIterator[Operator]:
    """Not signed in. What the console says wrong fails the test."""
    url = str(world.http.base_url).rstrip("/")
    tab = Tab(page=await window.new_page(), url=url)
    yield Operator(tab=tab)
    await clean(window)
    assert tab.wrong == []


@pytest_asyncio.fixture(loop_scope="package")
async def operator(stranger: Operator) -> Operator:
    await stranger.cookie()
    return stranger
