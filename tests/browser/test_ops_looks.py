"""Every view of the operator page, for eyes of all kinds and for none."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import pytest
from playwright.async_api import expect

from tests.browser.looks import DESK, PHONE, Scheme, judge
from tests.browser.operator_page import Operator, parked_delivery, parked_job
from tests.world import OWNER, World

Look = tuple[tuple[int, int], Scheme]

ALL_LOOKS: Final[list[Look]] = [
    (PHONE, "light"),
    (PHONE, "dark"),
    ((768, 1024), "light"),
    (DESK, "dark"),
]


async def places(world: World, operator: Operator) -> AsyncGenerator[str]:
    """Each view in turn, with something in it."""
    job_id, _ = await parked_job(world, "looked-at")
    _, entry_id = await parked_delivery(world, "looked-at-too")
    await operator.open()
    await expect(operator.at("#parked-deliveries [data-key]").first).to_be_visible()
    yield "now"
    await operator.go(f"#job={job_id}")
    await expect(operator.at("#job-receipt .timeline")).to_be_visible()
    yield "job"
    await operator.button("#job-actions", "Cancel").click()
    await expect(operator.at("#question")).to_be_visible()
    yield "question"
    await operator.at("#question-back").click()
    await operator.go(f"#delivery={entry_id}")
    await expect(operator.at(".raw")).to_be_visible()
    yield "delivery"
    await operator.go("#jobs")
    await expect(operator.at("#jobs-table [data-key]").first).to_be_visible()
    yield "jobs"
    await operator.go(f"#credits={OWNER}")
    await expect(operator.at("#account [data-key]").first).to_be_visible()
    yield "credits"


@pytest.mark.thorough
async def test_axe_finds_nothing_where_operators_act(world: World, operator: Operator) -> None:
    looks: dict[str, Look] = {"now": (PHONE, "light"), "question": (DESK, "dark")}
    async with aclosing(places(world, operator)) as walk:
        while looks:
            if look := looks.pop(name := await anext(walk), None):
                assert await judge(operator.tab.page, *look) == [], name


@pytest.mark.thorough
async def test_axe_finds_nothing_in_any_view(world: World, operator: Operator) -> None:
    found: dict[str, list[Any]] = {}
    async for name in places(world, operator):
        for look in ALL_LOOKS:
            found.setdefault(name, []).extend(await judge(operator.tab.page, *look))
    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.thorough
async def test_without_a_sign_in_axe_finds_nothing_either(stranger: Operator) -> None:
    stranger.tab.may_answer(401)
    await stranger.tab.page.goto(f"{stranger.tab.url}/ops")
    await stranger.has_focus("#token")
    assert await judge(stranger.tab.page, PHONE, "dark") == []
