"""The operator page as an operator uses it, and work that is parked for one."""

import re
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from playwright.async_api import Locator, expect

from service.domain.policy import MAX_DELIVERY_ATTEMPTS
from service.web.ops_sign_in import COOKIE, OpsSignIn
from tests.browser.site import said
from tests.browser.tab import Tab
from tests.world import World, eventually

OPS_TOKEN: Final = "a token for operators that is long enough to be taken"


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Somebody at the operator page, in a tab of their own."""

    tab: Tab

    def at(self, selector: str) -> Locator:
        return self.tab.at(selector)

    def button(self, where: str, name: str) -> Locator:
        return self.at(where).get_by_role("button", name=name)

    async def open(self, place: str = "") -> None:
        """The page, or another place on it, once the service has answered."""
        await self.tab.page.goto(f"{self.tab.url}/ops{place}")
        await expect(self.at("#as-of")).to_contain_text(re.compile(r"\d"))

    async def go(self, place: str) -> None:
        """Somewhere else on the page that is open."""
        await self.tab.page.evaluate("(place) => { location.hash = place; }", place)

    async def look_again(self) -> None:
        """What coming back to the tab does: the page asks at once, and not only in some seconds."""
        await self.tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    async def confirms(self) -> None:
        await self.at("#question-confirm").click()
        await expect(self.at("#question")).to_be_hidden()

    async def hears(self, words: str) -> None:
        """One message says so, and no other says anything."""
        await expect(self.at("#status-text")).to_contain_text(words)
        await expect(self.at("#alert")).to_be_empty()

    async def has_focus(self, selector: str) -> None:
        await expect(self.at(selector)).to_be_focused()

    async def cookie(self, age_s: float = 0) -> None:
        """A sign-in that was made so long ago."""
        value = OpsSignIn(OPS_TOKEN, clock=lambda: time.time() - age_s).new_cookie()
        await self.tab.page.context.add_cookies(
            [
                {
                    "name": COOKIE,
                    "value": value,
                    "domain": urlsplit(self.tab.url).hostname or "",
                    "path": "/ops",
                    "httpOnly": True,
                }
            ]
        )


async def parked_job(world: World, brand: str) -> tuple[str, str]:
    """A job whose object's key holds something that this job did not write; and that key."""
    job_id = await world.submit(brand=said(brand, "drop"))
    job = await world.until_state(job_id, "submitted")
    assert job.object_key is not None
    await world.runtime.services.bucket.put_image(job.object_key, b"a stranger's", "image/png")

    async def parked() -> bool | None:
        await world.sweep()
        return True if (await world.runtime.store.job(job_id)).parked else None

    await eventually(parked)
    return job_id, job.object_key


async def parked_delivery(world: World, brand: str) -> tuple[str, str]:
    """A job that was refused, and its delivery, the handling of which failed too often."""
    job_id = await world.submit(brand=said(brand, "refuse"))
    await world.until(job_id, "failed")
    await world.quiet()
    database = world.runtime.store.database
    find = "SELECT VALUE record::id(id) FROM inbox WHERE record::id(job) = $job"
    [entry_id] = await database.read(find, job=job_id)
    await database.write(
        "UPDATE inbox SET handled_at = NONE, outcome = NONE, due = time::now(), attempts = $n"
        " WHERE record::id(job) = $job",
        job=job_id,
        n=MAX_DELIVERY_ATTEMPTS,
    )
    await world.sweep()
    return job_id, entry_id
