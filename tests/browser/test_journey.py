"""From a start image to a video that plays, with a mouse, with a keyboard, and away again."""

import base64
import re

from playwright.async_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.site import CREDITS, PRICE, UNTIL_FINISHED, Site, said
from tests.browser.tab import COMPLETE, PICTURE, STARTED, Tab, Visitor
from tests.world import png

MP4_BEGINS = b"ftyp"


async def test_a_dropped_image_becomes_a_video_that_plays_and_stands_in_the_library(
    service: Site, visitor: Visitor, tab: Tab
) -> None:
    """The whole way, and each of its console lines exactly once."""
    await expect(tab.at("#balance")).to_contain_text(str(CREDITS))
    await tab.at("#template").select_option("night-life-roller")
    await tab.at("#variable-BRAND").fill(said("journey", UNTIL_FINISHED))
    await tab.drop_image(base64.b64encode(png()).decode())
    await expect(tab.at("#price")).to_contain_text(str(PRICE))
    await tab.at("#animate").click()
    await expect(tab.at("#progress-dialog")).to_be_visible()
    await expect(tab.at("#progress-dialog")).to_contain_text("Generating video")

    job_id = await tab.started_job()
    await tab.ends(job_id, "processing")
    await service.finish("journey")
    await tab.completes(job_id)
    await tab.plays()
    await expect(tab.at("#progress-dialog")).to_be_hidden()
    await expect(tab.at("#balance")).to_contain_text(str(CREDITS - PRICE))
    await expect(tab.at("#library [data-job-id]")).to_have_count(1)

    lines = tab.video_lines()
    assert len(set(lines)) == len(lines), lines
    assert STARTED.match(lines[0])
    assert COMPLETE.match(lines[-1])
    assert any(re.match(r"\[VIDEO\] status=processing progress=\d+$", each) for each in lines)
    assert await service.money(visitor.email) == (CREDITS - PRICE, 0)
    assert await service.calls("journey") == (1, 0)
    await downloads(tab.page)


async def downloads(page: Page) -> None:
    """The link gives the file itself, under a name of its own."""
    async with page.expect_download() as downloading:
        await page.locator("#download").click()
    download = await downloading.value
    assert download.suggested_filename.endswith(".mp4")
    path = await download.path()
    assert path.read_bytes()[4:8] == MP4_BEGINS


async def focus(page: Page, selector: str) -> None:
    """Tab on until the element has the focus: whoever has no mouse gets there, too."""
    for _ in range(80):
        if await page.locator(selector).evaluate("(it) => it === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key does not lead to {selector}")


async def test_the_keyboard_alone_is_enough(service: Site, tab: Tab) -> None:
    """Fill, pick an image, order, leave the modal: Tab, Space, Enter, Escape."""
    # From now on choosers are caught; when that begins with the key press, some are missed.
    tab.page.on("filechooser", lambda _: None)
    keyboard = tab.page.keyboard
    await focus(tab.page, "#template")
    await keyboard.type("Night")
    await focus(tab.page, "#variable-BRAND")
    await keyboard.type(said("keyboard", UNTIL_FINISHED))
    await focus(tab.page, "#start-image")
    async with tab.page.expect_file_chooser() as choosing:
        await keyboard.press("Space")
    await (await choosing.value).set_files(PICTURE)
    await focus(tab.page, "#animate")
    await keyboard.press("Enter")
    job_id = await tab.started_job()

    dialog = tab.at("#progress-dialog")
    await expect(dialog).to_be_visible()
    for _ in range(6):  # around and around: nothing behind the modal can be reached
        await keyboard.press("Tab")
        at = await tab.page.evaluate("document.activeElement.closest('dialog, body').id")
        assert at in {"progress-dialog", ""}, "the browser's own buttons have the focus as well"
    await keyboard.press("Escape")  # carry on in the background
    await expect(dialog).to_be_hidden()
    assert await tab.page.evaluate("document.activeElement !== document.body"), "focus is lost"

    await service.finish("keyboard")
    await tab.completes(job_id)
    assert await service.calls("keyboard") == (1, 0)


async def test_a_deleted_video_is_gone_for_good(service: Site, visitor: Visitor, tab: Tab) -> None:
    """After a reload as well; the credits stay spent."""
    job_id = await service.order(visitor.email, "deleted")
    await service.until(visitor.email, job_id, "completed")
    await tab.page.reload()
    entry = tab.entry(job_id)
    await tab.ends(job_id, "completed")

    await entry.get_by_role("button", name="Delete").click()
    await tab.at("#delete-confirm").click()
    await expect(entry).to_have_count(0)
    await tab.page.reload()
    await expect(tab.at("#balance")).to_contain_text(str(CREDITS - PRICE))
    await expect(entry).to_have_count(0)
    assert await service.library(visitor.email) == []


async def test_an_image_that_no_model_could_read_is_refused_before_it_is_sent(tab: Tab) -> None:
    """The message names the fix, and nothing is asked of the service."""
    await tab.fill("unreadable")
    text = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture at all"}
    await tab.at("#start-image").set_input_files(text)  # type: ignore[arg-type]
    await expect(tab.page.get_by_text(re.compile("PNG, JPEG or WebP")).first).to_be_visible()
    await tab.at("#animate").click()
    assert tab.requests()["POST templates/video"] == 0
    assert tab.video_lines() == []


async def test_too_few_credits_are_said_and_make_no_job(visit: Visit, service: Site) -> None:
    """A price above the balance: the reason in words, no job, no charge."""
    visitor = await visit("nobody-gave-me-credits@example.com")
    tab = await visitor.tab()
    await tab.fill("penniless")
    await tab.at("#animate").click(force=True)
    await expect(tab.page.get_by_text(re.compile("credits", re.IGNORECASE)).first).to_be_visible()
    tab.may_answer(402)
    assert await service.library(visitor.email) == []
