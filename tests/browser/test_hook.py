"""The React hook in React 18 and 19, in StrictMode, against the real service."""

import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.site import UNTIL_FINISHED, Site, said
from tests.frontend import test_client
from tests.parts import npm_packages
from tests.world import eventually

SOURCES: Final = test_client.HERE / "hook-page"
BUNDLE_S: Final = 60  # a fraction of a second on an idle machine

Open = Callable[..., Awaitable["HookPage"]]


@dataclass(frozen=True, kw_only=True)
class HookPage:
    """The hook's page in a window: its buttons, and what it was told."""

    page: Page
    wrong: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    async def press(self, button: str) -> None:
        await self.page.locator(f"#{button}").click()

    async def shows(self, status: str) -> None:
        await expect(self.page.locator("#status")).to_have_text(status)

    async def job(self) -> str:
        """The id of the job on show, once there is one."""
        shown = self.page.locator("#job")
        await expect(shown).not_to_be_empty()
        return await shown.inner_text()

    async def told(self, what: str) -> list[Any]:
        found: list[Any] = await self.page.evaluate("(what) => globalThis.told[what]", what)
        return found

    async def until_told(self, what: str, expected: list[Any]) -> None:
        async def look() -> bool | None:
            return True if await self.told(what) == expected else None

        await eventually(look)


@pytest.fixture(scope="package", params=["18", "19"], ids=["react-18", "react-19"])
def react(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's script with that React in it."""
    modules = npm_packages(test_client.HERE)
    bundle = tmp_path_factory.mktemp("hook") / f"react-{request.param}.js"
    options = [
        "--bundle",
        "--format=esm",
        "--target=es2022",
        f"--outfile={bundle}",
        f"--alias:react={modules}/react-{request.param}",
        f"--alias:react-dom={modules}/react-dom-{request.param}",
        '--define:process.env.NODE_ENV="development"',  # StrictMode does nothing in production
    ]
    subprocess.run(
        [modules / ".bin" / "esbuild", "page.js", "--log-level=error", *options],
        cwd=SOURCES,
        timeout=BUNDLE_S,
        check=True,
    )
    return bundle


@pytest.fixture
def hook(service: Site, visit: Visit, react: Path) -> Open:
    """Opens the page as one of the service's own, for a user of its own."""

    async def open_page(**brands: str) -> HookPage:
        visitor = await visit()

        async def serve(route: Route) -> None:
            script = route.request.url.endswith("/page.js")
            await route.fulfill(path=react if script else SOURCES / "index.html")

        await visitor.context.route("**/hook/**", serve)
        page = await visitor.context.new_page()
        opened = HookPage(page=page)
        page.on("pageerror", lambda error: opened.wrong.append(str(error)))
        page.on(
            "console",
            lambda message: (
                opened.wrong if message.type in {"error", "warning"} else opened.lines
            ).append(message.text),
        )
        await page.goto(f"{service.url}/hook/?{urlencode(brands)}")
        await opened.shows("idle")
        return opened

    return open_page


async def test_a_click_becomes_a_video_and_is_told_once(
    service: Site, hook: Open, react: Path
) -> None:
    """F10: clicked three times it is one job; the promise ends after onComplete's."""
    brand = f"hook-once-{react.stem}"
    page = await hook(brand=said(brand, UNTIL_FINISHED))
    assert (await page.page.evaluate("reactVersion")).startswith(react.stem.split("-")[1])
    for _ in range(3):
        await page.press("generate")
    await page.shows("processing")
    job_id = await page.job()
    await service.finish(brand)
    await page.shows("completed")
    await page.until_told("resolved", [[job_id, True]] * 3)
    assert await page.told("complete") == [job_id]
    shown = [each for each in await page.told("statuses") if each != "pending"]  # may be too short
    assert shown == ["idle", "submitting", "processing", "completed"]
    assert await service.calls(brand) == (1, 0)
    key = await page.page.locator("#key").inner_text()
    ends = [each for each in page.lines if "started" in each or "complete" in each]
    assert ends == [f"[VIDEO] Job started: {job_id}", f"[VIDEO] Generation complete: {key}"]
    assert page.wrong == []


async def test_unmounted_reloaded_and_resumed_it_is_told_once(
    service: Site, hook: Open, react: Path
) -> None:
    """F79: who left while it ran, or reloaded, goes on with the same job."""
    brand = f"hook-left-{react.stem}"
    page = await hook(brand=said(brand, UNTIL_FINISHED))
    await page.press("generate")
    await page.shows("processing")
    job_id = await page.job()
    await page.press("toggle")
    await page.press("toggle")
    await page.shows("idle")
    await page.press("resume")
    await page.shows("processing")
    await page.page.reload()
    await page.shows("idle")
    await page.press("resume")
    await page.shows("processing")
    await page.press("toggle")  # nobody looks when it completes
    await service.finish(brand)
    await page.press("toggle")
    await page.press("resume")
    await page.until_told("resolved", [[job_id, True]])
    await page.shows("completed")
    assert await page.told("complete") == [job_id]
    await page.press("resume")
    await page.until_told("resolved", [[job_id, True], None])
    assert await service.calls(brand) == (1, 0)
    assert page.wrong == []


async def test_another_order_is_shown_and_the_first_goes_on(
    service: Site, hook: Open, react: Path
) -> None:
    """The first completes for who asked for it; the second is cancelled, and called so."""
    first, second = f"hook-first-{react.stem}", f"hook-second-{react.stem}"
    page = await hook(brand=said(first, UNTIL_FINISHED), other=said(second, UNTIL_FINISHED))
    await page.press("generate")
    await page.shows("processing")
    job_id = await page.job()
    await page.press("other")
    await expect(page.page.locator("#job")).not_to_have_text(job_id)
    await page.shows("processing")
    await service.finish(first)
    await page.until_told("complete", [job_id])
    await page.shows("processing")
    await page.press("cancel")
    await page.shows("cancelled")
    assert await page.told("errors") == ["cancelled"]
    assert await page.told("complete") == [job_id]
    await page.press("reset")
    await page.shows("idle")
    assert page.wrong == []
