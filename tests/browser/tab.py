"""The designer page in a real browser, as somebody in front of it uses it."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import (
    BrowserContext,
    ConsoleMessage,
    FilePayload,
    Locator,
    Page,
    Request,
    expect,
)

from tests.browser.site import Site, said
from tests.world import eventually, png, token

STARTED: Final = re.compile(r"^\[VIDEO\] Job started: (\S+)$")
COMPLETE: Final = re.compile(r"^\[VIDEO\] Generation complete: (users/\S+/library/(\S+)\.mp4)$")
PICTURE: Final = FilePayload(name="start.png", mimeType="image/png", buffer=png())
NOT_LOADED: Final = "Failed to load resource"
# What the console says of requests for which there is no network, and of those it breaks off.
BROKEN: Final = tuple(
    f"net::ERR_{it}"
    for it in (
        "INTERNET_DISCONNECTED",
        "CONNECTION_REFUSED",
        "CONNECTION_RESET",
        "EMPTY_RESPONSE",
        "INCOMPLETE_CHUNKED_ENCODING",
        "NETWORK_CHANGED",
    )
)

# A file that is dropped exists only in the page: so the page makes it.
_DROP: Final = """(zone, bytes) => {
  const transfer = new DataTransfer();
  const blob = Uint8Array.from(atob(bytes), (each) => each.charCodeAt(0));
  transfer.items.add(new File([blob], "start.png", { type: "image/png" }));
  for (const name of ["dragenter", "dragover", "drop"]) {
    const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
    zone.dispatchEvent(new DragEvent(name, options));
  }
}"""


@dataclass(kw_only=True, eq=False)  # no slots: Playwright notes on it what it calls
class Tab:
    """A tab with the designer in it. What its console says wrong fails the test in the end."""

    page: Page
    url: str
    said: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    provoked: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"thrown: {error}"))
        self.page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        self.said.append(message.text)
        if message.type in {"error", "warning"}:
            place = message.location.get("url", "")
            self.complaints.append(f"{message.type}: {message.text} ({urlsplit(place).path})")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.path.startswith("/api/"):
            wait = "?wait" if "wait" in parse_qs(parts.query) else ""
            self.asked.append(f"{request.method} {parts.path.removeprefix('/api/')}{wait}")

    def may(self, *say: str) -> None:
        """What the console says wrong is right where it contains this: the test provokes it."""
        self.provoked += say

    def may_answer(self, *statuses: int) -> None:
        """The same about answers that the console calls errors."""
        self.may(*(f"{NOT_LOADED}: the server responded with a status of {it}" for it in statuses))

    @property
    def wrong(self) -> list[str]:
        return [
            each
            for each in self.complaints
            if not any(expected in each for expected in self.provoked)
        ]

    def requests(self) -> Counter[str]:
        """How often the page has asked for what, such as `GET library`."""
        return Counter(self.asked)

    async def asks(self, what: str, times: int = 1) -> None:
        """Return once the page has asked for that so often."""

        async def look() -> bool | None:
            return True if self.requests()[what] >= times else None

        await eventually(look)

    def at(self, selector: str) -> Locator:
        return self.page.locator(selector)

    async def open(self, place: str = "/") -> None:
        await self.page.goto(self.url + place)
        await expect(self.at("#balance")).to_contain_text(re.compile(r"\d"))

    async def fill(self, brand: str, faults: str = "") -> None:
        """Everything that a video needs: the first template's variable and a start image."""
        await self.at("#template").select_option("night-life-roller")
        await self.at("#variable-BRAND").fill(said(brand, faults))
        await self.at("#start-image").set_input_files(PICTURE)

    async def drop_image(self, base64: str) -> None:
        await self.at("#drop-zone").evaluate(_DROP, base64)

    async def animate(self, brand: str, faults: str = "") -> str:
        """Order a video; the job's id, once there is a job."""
        before = len(self.started())
        await self.fill(brand, faults)
        await self.at("#animate").click()
        return await self.started_job(before)

    async def started_job(self, before: int = 0) -> str:
        """The job that this tab starts after so many others."""

        async def look() -> str | None:
            return self.started()[before] if len(self.started()) > before else None

        return await eventually(look)

    def video_lines(self) -> list[str]:
        return [each for each in self.said if each.startswith("[VIDEO]")]

    def started(self) -> list[str]:
        return [found[1] for each in self.said if (found := STARTED.match(each))]

    def completed(self) -> list[str]:
        """The jobs that the console calls complete, as often as it does so."""
        return [found[2] for each in self.said if (found := COMPLETE.match(each))]

    async def completes(self, job_id: str) -> None:
        """Return once the console says, for the first time, that the job is complete."""

        async def look() -> bool | None:
            return True if job_id in self.completed() else None

        await eventually(look)
        await self.ends(job_id, "completed")
        assert self.completed().count(job_id) == 1, self.video_lines()

    async def ends(self, job_id: str, status: str) -> None:
        """Return once the library shows the job in this status."""
        await expect(self.entry(job_id)).to_have_attribute("data-status", status)

    def entry(self, job_id: str) -> Locator:
        """The job's entry in the library."""
        return self.at(f'#library [data-job-id="{job_id}"]')

    async def plays(self, selector: str = "#result-video") -> None:
        """Return once the video's time goes on."""
        video = self.at(selector)
        await expect(video).to_be_visible()

        async def look() -> bool | None:
            seen: dict[str, Any] = await video.evaluate(
                "(it) => ({ at: it.currentTime, wide: it.videoWidth, error: it.error?.message })"
            )
            assert not seen["error"], seen
            return True if seen["at"] > 0 and seen["wide"] > 0 else None

        await eventually(look)


@dataclass(kw_only=True, slots=True, eq=False)
class Visitor:
    """Somebody's browser, with cookies of its own."""

    site: Site
    email: str
    context: BrowserContext
    tabs: list[Tab] = field(default_factory=list)

    async def tab(self, place: str | None = "/", *, url: str | None = None) -> Tab:
        """Another tab; the service may be behind another address."""
        tab = Tab(page=await self.context.new_page(), url=url or self.site.url)
        self.tabs.append(tab)
        if place is not None:
            await tab.open(place)
        return tab

    async def sign_in(self, **claims: Any) -> None:
        """The page's cookie; `exp` among the claims makes it a short one."""
        await self.context.add_cookies(
            [
                {
                    "name": "session",
                    "value": token(self.email, **claims),
                    "url": self.site.url,
                    "httpOnly": True,
                    "sameSite": "Strict",
                }
            ]
        )

    def wrong(self) -> list[str]:
        return [each for tab in self.tabs for each in tab.wrong]
