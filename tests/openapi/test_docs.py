"""The page at /docs in a real browser: it shows the whole document, to everybody, on any screen."""

from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright, expect

from service.web.docs import POLICY
from tests.browser.looks import DESK, PHONE, Scheme, judge
from tests.openapi.conftest import document
from tests.parts import program
from tests.world import SOON_S, World

LOOKS: Final[list[tuple[tuple[int, int], Scheme]]] = [(PHONE, "dark"), (DESK, "light")]
DEAD: Final = """() => [...document.querySelectorAll('main a[href^="#"], nav a')]
  .map((each) => each.hash)
  .filter((hash) => !document.getElementById(hash.slice(1)))"""


@pytest_asyncio.fixture(loop_scope="package")
async def page(service: World) -> AsyncIterator[Page]:
    """The page as it opens; what its console says wrong is a failure."""
    path = program("chromium")
    async with async_playwright() as playwright:
        # Tests may run as root, where Chromium has no sandbox.
        chromium = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        opened = await chromium.new_page()
        wrong: list[str] = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        opened.on("requestfailed", lambda request: wrong.append(request.url))
        opened.set_default_timeout(SOON_S * 1000)
        await opened.goto(f"{service.http.base_url}/docs")
        await expect(opened.locator("#content")).to_have_attribute("aria-busy", "false")
        yield opened
        await chromium.close()
    assert wrong == []


async def test_it_shows_every_operation_and_every_schema(service: World, page: Page) -> None:
    made = await document(service)
    said = [f"{method.upper()} {path}" for path, each in made["paths"].items() for method in each]
    shown = await page.locator(".operation .address").all_inner_texts()
    assert sorted(shown) == sorted(said)
    schemas = await page.locator(".schema h3").all_inner_texts()
    assert sorted(schemas) == sorted(made["components"]["schemas"])
    assert await page.evaluate(DEAD) == []
    example = await page.locator("#do-submitvideo pre").inner_text()
    assert "-F startImage=@start.png" in example
    assert '"templateSlug":"night-life-roller"' in example


@pytest.mark.thorough
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    page: Page, size: tuple[int, int], scheme: Scheme
) -> None:
    """Not every day: it is a long page, and axe looks at all of it."""
    assert await judge(page, size, scheme) == []


async def test_it_runs_under_a_policy_that_lets_nobody_else_in(service: World) -> None:
    answer = await service.http.get("/docs")
    assert answer.headers["content-security-policy"] == POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    assert "://" not in answer.text
