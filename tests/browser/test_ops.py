"""The operator page in a real browser: find what is parked, look, redrive, pause, pay back."""

import re
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import expect

from service.web.ops_sign_in import COOKIE, SESSION_S
from tests.browser.operator_page import OPS_TOKEN, Operator, parked_delivery, parked_job
from tests.browser.site import said
from tests.browser.tab import BROKEN
from tests.browser.test_journey import focus
from tests.engine.proxy import Proxy, running_proxy
from tests.world import World, eventually

PRICE: Final = 40
AWAY: Final = re.compile("cannot be reached")


async def test_only_the_token_opens_the_page_and_leads_to_where_the_address_says(
    stranger: Operator,
) -> None:
    """A wrong token is said at its field; the right one leads on, and out again leads back."""
    stranger.tab.may_answer(401)
    await stranger.tab.page.goto(f"{stranger.tab.url}/ops#jobs")
    await stranger.has_focus("#token")
    await expect(stranger.at("#jobs")).to_be_hidden()
    await stranger.at("#token").fill("not the token")
    await stranger.tab.page.keyboard.press("Enter")
    await expect(stranger.at("#token-error")).to_contain_text("not the token")
    await expect(stranger.at("#token")).to_have_attribute("aria-invalid", "true")
    await stranger.has_focus("#token")

    await stranger.at("#token").fill(OPS_TOKEN)
    await stranger.tab.page.keyboard.press("Enter")
    await expect(stranger.at("#jobs-lead")).to_contain_text("read at")
    await stranger.has_focus("#jobs-title")
    cookies = await stranger.tab.page.context.cookies(f"{stranger.tab.url}/ops")
    assert [(each["name"], each["httpOnly"], each["sameSite"]) for each in cookies] == [
        (COOKIE, True, "Strict")
    ]
    assert OPS_TOKEN not in str(await stranger.tab.page.context.storage_state())

    await stranger.at("#sign-out").click()
    await expect(stranger.at("#sign-in-why")).to_contain_text("signed out")
    await stranger.has_focus("#token")
    await expect(stranger.at("#jobs")).to_be_hidden()


async def test_a_parked_job_is_found_and_looked_at_and_redriven_until_it_finishes(
    world: World, operator: Operator
) -> None:
    """F61: its reason, its reservation, a dry run that changes nothing, the redrive, the video."""
    job_id, key = await parked_job(world, "found")
    await operator.open("#parked")
    await operator.has_focus("#parked-title")
    row = operator.at(f'#parked-jobs [data-key="{job_id}"]')
    await expect(row).to_contain_text("ObjectConflict")
    await focus(operator.tab.page, f'#parked-jobs [data-key="{job_id}"] a')
    await operator.tab.page.keyboard.press("Enter")

    await operator.has_focus("#job-title")
    await expect(operator.at("#job-parked")).to_contain_text(f"{PRICE} credits stay reserved")
    steps = operator.at("#job-receipt .timeline > li")
    await expect(steps.last).to_contain_text("ObjectConflict")
    await operator.button("#job-actions", "Redrive").click()
    await expect(operator.at("#question-about")).to_contain_text("would go on from rendered")
    await operator.tab.page.keyboard.press("Escape")
    await expect(operator.at("#job-actions button").first).to_be_focused()
    assert (await world.runtime.store.job(job_id)).parked

    await world.runtime.services.bucket.delete(key)
    await operator.button("#job-actions", "Redrive").click()
    await operator.confirms()
    await operator.hears(f"Job {job_id}: redriven from rendered")
    await world.until_state(job_id, "ready")
    await operator.look_again()
    await expect(operator.at("#job-lead .badge")).to_have_text("ready")
    await expect(operator.at("#job-parked")).to_be_hidden()
    await expect(operator.at("#job-receipt [data-what=captured]")).to_contain_text(str(PRICE))
    job = await world.runtime.store.job(job_id)
    await expect(operator.at("#job-receipt")).to_contain_text(job.object_sha256 or "no hash")
    assert await operator.tab.page.evaluate("document.activeElement !== document.body")


@pytest.mark.thorough
async def test_what_somebody_else_has_redriven_meanwhile_is_said_to_be_unchanged(
    world: World, operator: Operator
) -> None:
    """F71: two operators press the button; the second one hears that nothing was changed."""
    job_id, key = await parked_job(world, "twice")
    await operator.open(f"#job={job_id}")
    await operator.button("#job-actions", "Redrive").click()
    await expect(operator.at("#question")).to_be_visible()
    await world.runtime.services.bucket.delete(key)
    assert await world.runtime.store.redrive(job_id)
    await world.until_state(job_id, "ready")
    await operator.confirms()
    await operator.hears("it is ready and not parked; nothing was changed")
    ledger = await world.runtime.store.job_ledger(job_id)
    assert [each.kind.value for each in ledger].count("capture") == 1


@pytest.mark.thorough
async def test_a_job_that_is_cancelled_by_hand_gets_its_credits_back(
    world: World, operator: Operator
) -> None:
    """A parked one, at once; what the dialog promised is what the ledger says then."""
    job_id, _ = await parked_job(world, "given-up")
    before = await world.money()
    await operator.open(f"#job={job_id}")
    await operator.button("#job-actions", "Cancel").click()
    await expect(operator.at("#question-about")).to_contain_text(f"return its {PRICE} credits")
    await operator.confirms()
    await operator.hears("given up, credits returned")
    await expect(operator.at("#job-receipt [data-what=released]")).to_be_visible()
    available, reserved, captured = before
    assert await world.money() == (available + PRICE, reserved - PRICE, captured)


async def test_submitting_is_paused_by_hand_and_resumed_and_nothing_is_lost(
    world: World, operator: Operator
) -> None:
    """A reason is wanted; orders are taken meanwhile, wait, and go on when it is resumed."""
    await operator.open()
    await operator.button("#switches", "Pause submitting").click()
    await operator.at("#question-confirm").click()
    await expect(operator.at("#pause-reason-error")).to_be_visible()
    await operator.has_focus("#pause-reason")
    await operator.at("#pause-reason").fill("fal is being moved")
    await operator.confirms()
    await operator.hears("Submitting paused")
    switch = operator.at("#switches li").first
    await expect(switch).to_contain_text("by hand")
    await expect(switch).to_contain_text("fal is being moved")
    await expect(switch.get_by_role("button", name="Resume submitting")).to_be_focused()

    job_id = await world.submit(brand="paused")
    await world.sweep()
    assert (await world.runtime.store.job(job_id)).state.value == "reserved"
    await switch.get_by_role("button", name="Resume submitting").click()
    await expect(operator.at("#question-about")).to_contain_text("fal is being moved")
    await operator.confirms()
    await operator.hears("Submitting resumed")
    await expect(switch).to_contain_text("Running")
    await expect(switch.get_by_role("button", name="Pause submitting")).to_be_focused()
    await world.sweep()
    await world.until(job_id, "completed")


async def test_a_sign_in_that_has_expired_is_said_and_leads_back(operator: Operator) -> None:
    """F80: nothing is shown as if it were fresh; signed in again, the view is the same one."""
    await operator.open("#deliveries")
    await operator.cookie(age_s=SESSION_S + 1)
    operator.tab.may_answer(401)
    await operator.look_again()
    await expect(operator.at("#sign-in-why")).to_contain_text("has ended")
    await operator.has_focus("#token")
    await expect(operator.at("#deliveries")).to_be_hidden()
    await operator.at("#token").fill(OPS_TOKEN)
    await operator.tab.page.keyboard.press("Enter")
    await expect(operator.at("#deliveries-lead")).to_contain_text("read at")
    await operator.has_focus("#deliveries-title")


@pytest_asyncio.fixture(loop_scope="package")
async def line(world: World) -> AsyncIterator[Proxy]:
    """A network between the page and the service, which a test can cut."""
    async with running_proxy(world.settings.port) as proxy:
        yield proxy


async def test_a_service_that_goes_away_is_said_once_and_so_is_what_was_not_answered(
    world: World, operator: Operator, line: Proxy
) -> None:
    """What is shown stays, with its time; an act without an answer is not said to be done."""
    job_id, _ = await parked_job(world, "away")
    operator.tab.url = f"http://127.0.0.1:{line.port}"
    await operator.open(f"#job={job_id}")
    await operator.button("#job-actions", "Redrive").click()
    await expect(operator.at("#question")).to_be_visible()
    operator.tab.may(*BROKEN)
    await line.refuse()
    await operator.at("#question-confirm").click()
    await expect(operator.at("#alert")).to_contain_text("not known whether this was done")
    await operator.at("#question-back").click()
    await operator.look_again()
    await expect(operator.at("#offline")).to_contain_text(AWAY)
    told = await operator.at("#notices").inner_text()
    await operator.look_again()  # again in vain: the same words, not a second message
    await expect(operator.at("#notices")).to_have_text(re.compile(re.escape(told.strip())))
    assert len(AWAY.findall(await operator.at("body").inner_text())) == 1
    await expect(operator.at("#job-parked")).to_contain_text("ObjectConflict")

    await line.listen()
    await operator.look_again()
    await expect(operator.at("#offline")).to_be_hidden()
    assert (await world.runtime.store.job(job_id)).parked


async def test_a_delivery_shows_its_body_as_text_whatever_it_says(
    world: World, operator: Operator
) -> None:
    """Markup in it is letters; redriven after a dry run, it is handled."""
    markup = "<img/src=x/onerror=alert(1)>"
    job_id, entry_id = await parked_delivery(world, markup)
    await operator.open()
    row = operator.at(f'#parked-deliveries [data-key="{entry_id}"]')
    await expect(row).to_contain_text("handling failed too often")
    await row.get_by_role("link").first.click()
    await operator.has_focus("#delivery-title")
    await expect(operator.at(".raw")).to_contain_text(markup)
    await expect(operator.at(".raw")).to_contain_text('\n  "status": "ERROR"')
    await expect(operator.at("#delivery img")).to_have_count(0)
    await operator.at("#delivery-actions button").click()
    await expect(operator.at("#question-about")).to_contain_text(
        "would have the next sweep handle it once more"
    )
    await operator.confirms()
    await operator.hears("redriven; the next sweep handles it")

    async def handled() -> bool | None:
        return True if (await world.runtime.store.delivery(entry_id)).handled_at else None

    await eventually(handled)
    await operator.look_again()
    await expect(operator.at("#delivery-lead")).not_to_contain_text("parked")
    await operator.at("#delivery-facts").get_by_role("link", name=job_id).click()
    await expect(operator.at("#job-lead .badge")).to_have_text("failed")


@pytest.mark.thorough
async def test_jobs_are_found_by_state_and_owner_and_id_a_page_at_a_time(
    world: World, operator: Operator
) -> None:
    email = "pages@example.com"
    await world.grant(PRICE * 26, email)
    jobs = []
    for _ in range(26):  # one after the other: so many at once are too many for one user
        jobs.append(await world.submit(brand=said("paged", "refuse"), email=email))
        await world.until(jobs[-1], "failed", email=email)
    await operator.open("#jobs")
    await operator.at("#jobs-who").fill(email)
    await operator.at("#jobs-state").select_option("failed")
    await operator.tab.page.keyboard.press("Enter")
    rows = operator.at("#jobs-table [data-key]")
    await expect(rows).to_have_count(25)
    await expect(rows.first).to_have_attribute("data-key", jobs[-1])
    await operator.has_focus("#jobs-lead")
    await operator.at("#jobs-older").click()
    await expect(rows).to_have_count(1)
    await expect(rows.first).to_have_attribute("data-key", jobs[0])
    await operator.tab.page.go_back()
    await expect(rows).to_have_count(25)
    await operator.at("#jobs-who").fill("no-such-job")
    await operator.at("#jobs-form button").click()
    operator.tab.may_answer(404)
    await expect(operator.at("#job-lead")).to_contain_text("There is no job no-such-job")


@pytest.mark.thorough
async def test_credits_are_granted_and_a_video_is_refunded_once(
    world: World, operator: Operator
) -> None:
    """Each says what it did; what cannot be, is said at its field and asked of nobody."""
    email = "refunds@example.com"
    await world.grant(100, email)
    job_id = await world.submit(brand="refunded", email=email)
    await world.until(job_id, "completed", email=email)
    await operator.open(f"#credits={email}")
    await expect(operator.at("#account .sums")).to_contain_text("60")
    await operator.button("#account", "Grant").click()
    await operator.at("#money-amount").fill("-5")
    await operator.at("#question-confirm").click()
    await expect(operator.at("#money-amount-error")).to_be_visible()
    await operator.at("#money-amount").fill("25")
    await operator.confirms()
    await operator.hears("Granted 25 credits")
    await expect(operator.at("#account .sums")).to_contain_text("85")

    await operator.go(f"#job={job_id}")
    await operator.button("#job-actions", "Refund").click()
    await operator.at("#money-reason").fill("blurred")
    await operator.confirms()
    await operator.hears(f"Refunded {PRICE} credits")
    await expect(operator.at("#job-receipt [data-what=refunded]")).to_contain_text("blurred")
    await expect(operator.button("#job-actions", "Refund")).to_have_count(0)
    assert await world.money(email) == (125, 0, 0)


@pytest.mark.thorough
async def test_the_ledger_check_names_what_is_broken(world: World, operator: Operator) -> None:
    """First everything holds; then a job is moved behind the service's back."""
    job_id = await world.submit(brand="audited")
    await world.until(job_id, "completed")
    await world.quiet()
    await operator.open("#check")
    await operator.at("#check-run").click()
    result = operator.at("#check-result")
    await expect(result.get_by_role("heading").first).to_have_text(re.compile("Everything holds"))
    await expect(result.get_by_role("heading").first).to_be_focused()
    database = world.runtime.store.database
    table = "DELETE library WHERE record::id(job) = $job RETURN BEFORE"
    [entry] = await database.write(table, job=job_id)
    await operator.at("#check-run").click()
    await expect(result.locator("[data-broken=true]")).to_contain_text(job_id)
    await database.write("CREATE library CONTENT $entry", entry=entry)
