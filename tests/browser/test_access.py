"""Every state of the page, for eyes of all kinds and for none: WCAG 2.2, light and dark, sizes."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from tests.browser.looks import DESK, PHONE, Scheme, judge
from tests.browser.site import UNTIL_FINISHED, Site
from tests.browser.tab import BROKEN, Tab, Visitor

Look = tuple[tuple[int, int], Scheme]
# A walk from state to state; each is named once the page is in it.
Walk = Callable[[Site, Visitor, Tab], AsyncIterator[str]]

FOREVER: Final = 100
EVERY_DAY: Final[list[Look]] = [(PHONE, "light"), (DESK, "dark")]
THE_REST: Final[list[Look]] = [(PHONE, "dark"), (DESK, "light")]


async def ordering(service: Site, visitor: Visitor, tab: Tab) -> AsyncIterator[str]:
    await tab.open()
    await expect(tab.at("#library [data-job-id]")).to_have_count(0)
    yield "empty"
    await tab.at("#animate").click()
    await expect(tab.at("[aria-invalid=true]").first).to_be_visible()
    yield "mistakes"
    await tab.fill("looked-at", f"delay={FOREVER},cancel_ignored")
    yield "filled"
    await tab.at("#animate").click()
    await expect(tab.at("#progress-bar")).to_be_visible()
    yield "generating"
    await tab.at("#cancel-video").click()
    await expect(tab.at("#cancel-dialog")).to_be_visible()
    yield "cancelling"
    await tab.at("#cancel-keep").click()
    await expect(tab.at("#cancel-note")).to_be_visible()
    yield "cancel requested"


async def watching(service: Site, visitor: Visitor, tab: Tab) -> AsyncIterator[str]:
    brand = f"looked-at by {visitor.email}"  # this walk is taken twice
    await tab.open()
    job_id = await tab.animate(brand, f"{UNTIL_FINISHED},bytes=100000,slow_file=60000")
    await service.finish(brand)
    await expect(tab.at("#preview-note")).to_be_visible()
    yield "previewing"
    await tab.completes(job_id)
    await expect(tab.at("#download")).to_be_visible()
    yield "done"
    await tab.entry(job_id).get_by_role("button", name="Delete").click()
    await expect(tab.at("#delete-dialog")).to_be_visible()
    yield "deleting"


async def returning(service: Site, visitor: Visitor, tab: Tab) -> AsyncIterator[str]:
    jobs = {
        "completed": await service.order(visitor.email, "looked-at-done"),
        "failed": await service.order(visitor.email, "looked-at-failed", "refuse"),
        "processing": await service.order(visitor.email, "looked-at-run", UNTIL_FINISHED),
    }
    for status, job_id in jobs.items():
        await service.until(visitor.email, job_id, status)
    await tab.open()
    for status, job_id in jobs.items():
        await tab.ends(job_id, status)
    yield "full library"
    tab.may(*BROKEN)
    await visitor.context.set_offline(offline=True)
    await expect(tab.at("#offline")).to_be_visible()
    yield "offline"


async def expired(service: Site, visitor: Visitor, tab: Tab) -> AsyncIterator[str]:
    await visitor.sign_in(exp=1)
    tab.may_answer(401)
    await tab.page.goto(tab.url)
    await expect(tab.at("#signed-out")).to_be_visible()
    yield "signed out"


async def wrong(
    walk: Walk, service: Site, visitor: Visitor, looks: list[Look]
) -> dict[str, list[Any]]:
    """What is wrong in which state."""
    tab = await visitor.tab(None)
    found: dict[str, list[Any]] = {}
    async for state in walk(service, visitor, tab):
        for size, scheme in looks:
            found.setdefault(state, []).extend(await judge(tab.page, size, scheme))
    return {state: each for state, each in found.items() if each}


WALKS: Final = (ordering, watching, returning, expired)


@pytest.mark.parametrize("walk", WALKS)
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    service: Site, visitor: Visitor, walk: Walk
) -> None:
    assert await wrong(walk, service, visitor, EVERY_DAY) == {}


@pytest.mark.thorough
@pytest.mark.parametrize("walk", WALKS)
async def test_axe_finds_nothing_in_the_other_schemes_and_sizes(
    service: Site, visitor: Visitor, walk: Walk
) -> None:
    assert await wrong(walk, service, visitor, THE_REST) == {}


async def test_the_judge_sees_what_is_wrong(page: Page) -> None:
    """Or a page could please it by being too much for it."""
    await page.set_content(
        "<main><h1>A page</h1><img src='data:,'><div style='width: 400px'>wide</div></main>"
    )
    rules = {each["rule"] for each in await judge(page, PHONE, "light")}
    assert {"image-alt", "too wide"} <= rules


async def test_what_a_console_says_wrong_is_kept_unless_it_was_provoked(visitor: Visitor) -> None:
    """Or no test here would ever fail for it."""
    tab = await visitor.tab(None)
    await tab.page.goto(visitor.site.url)
    await tab.page.evaluate("console.error('a mistake')")
    await tab.page.evaluate("document.body.setAttribute('style', 'color: red')")
    await tab.page.evaluate("setTimeout(() => { throw new Error('thrown') })")
    await tab.page.evaluate("new Promise((resolve) => setTimeout(resolve))")
    assert [each.split(":")[0] for each in tab.wrong] == ["error", "error", "thrown"], tab.wrong
    tab.may("a mistake", "Content Security Policy", "thrown")
    assert tab.wrong == []
