"""What a page must be for everybody: axe-core's judgement, and a width that fits the screen."""

import functools
from pathlib import Path
from typing import Any, Final, Literal

from playwright.async_api import Page

from tests.parts import npm_packages

Scheme = Literal["light", "dark"]
PHONE: Final = (360, 800)
DESK: Final = (1440, 900)

# All rules, and the one of WCAG 2.2 that axe leaves out unless it is asked to.
_JUDGE: Final = """async () => {
  const found = await axe.run(document, { rules: { "target-size": { enabled: true } } });
  return found.violations.map((each) => ({
    rule: each.id,
    help: each.help,
    at: each.nodes.map((node) => `${node.target} ${node.failureSummary}`),
  }));
}"""
_OVERFLOW: Final = """() => {
  const room = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("body *")].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.width && (box.right > room + 1 || box.left < -1);
  });
  const scrolls = document.documentElement.scrollWidth > room;
  return scrolls ? wide.map((each) => each.outerHTML.slice(0, 120)) : [];
}"""


@functools.cache
def _axe() -> str:
    return (npm_packages(Path(__file__).parent) / "axe-core" / "axe.min.js").read_text("utf-8")


async def judge(page: Page, size: tuple[int, int], scheme: Scheme) -> list[Any]:
    """Everything that is wrong with the page as it stands, at this size and in this scheme."""
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(_axe())
    found: list[Any] = await page.evaluate(_JUDGE)
    too_wide = await page.evaluate(_OVERFLOW)
    return [
        {"size": size, "scheme": scheme, **each}
        for each in [*found, *({"rule": "too wide", "at": it} for it in too_wide)]
    ]
