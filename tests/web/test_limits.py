"""How often one account may order, and how much of everybody's may be at fal at one time."""

import pytest

from service.domain.errors import TooOften
from service.sandbox.object_store import ObjectStore
from service.web import limits
from service.web.limits import PERIOD_S, OrderRate
from tests.web.forms import check_problem
from tests.world import World, eventually, open_world

EVE = "eve@example.com"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(rate: OrderRate, account: str, tries: int) -> int:
    """How many of so many orders at one moment are taken."""
    count = 0
    for _ in range(tries):
        try:
            rate.take(account)
        except TooOften:
            continue
        count += 1
    return count


@pytest.mark.parametrize("limit", [1, 7, 30, 120, 10_000])
def test_an_account_may_order_so_often_in_a_minute_and_then_evenly(limit: int) -> None:
    clock = Clock()
    rate = OrderRate(limit, clock)
    assert taken(rate, "ana", limit + 5) == limit
    assert taken(rate, "ben", 1) == 1, "another account is another matter"
    clock.now += PERIOD_S / limit * 1.01
    assert taken(rate, "ana", 3) == 1, "one more for each part of a minute"
    clock.now += 10 * PERIOD_S
    assert taken(rate, "ana", limit + 5) == limit, "rest is not saved up beyond a minute"


def test_who_is_refused_learns_when_the_next_order_is_taken() -> None:
    clock = Clock()
    rate = OrderRate(2, clock)
    assert taken(rate, "ana", 2) == 2
    with pytest.raises(TooOften) as caught:
        rate.take("ana")
    assert caught.value.retry_after_s == 30
    clock.now += 30
    rate.take("ana")


def test_a_refused_order_costs_nothing() -> None:
    clock = Clock()
    rate = OrderRate(2, clock)
    assert taken(rate, "ana", 500) == 2
    clock.now += 31
    rate.take("ana")


def test_accounts_without_end_are_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_ACCOUNTS", 3)
    rate = OrderRate(1, Clock())
    for account in "abcdef":
        rate.take(account)
    assert len(rate._spent_until) == 3
    with pytest.raises(TooOften):
        rate.take("f")


async def test_too_many_orders_are_refused_before_their_body_is_read(s3: ObjectStore) -> None:
    async with open_world(s3, MAX_SUBMISSIONS_PER_MINUTE="2") as world:
        await world.grant(1000, EVE)
        for _ in range(2):
            await world.submit(email=EVE)
        answer = await world.http.post(
            "/api/templates/video", headers=world.headers(EVE), content=b"no form at all"
        )
        check_problem(answer, 429, "too_often")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        await world.grant(100)
        assert (await world.post()).status_code == 202, "others are not held up"
        assert (await world.money(EVE))[0] == 920


async def give_up(world: World, job_id: str) -> None:
    answer = await world.http.post(
        "/api/templates/video/cancel", json={"jobId": job_id}, headers=world.headers()
    )
    assert answer.status_code == 202, answer.text


async def test_what_is_beyond_the_limit_at_fal_waits_here_in_line_and_goes_in_turn(
    s3: ObjectStore,
) -> None:
    """Nothing is refused or lost; fal never has more than it may, and the oldest goes next."""
    async with open_world(s3, MAX_AT_FAL="2") as world:
        await world.grant(240)
        await world.faults("queue=600", times=2)
        brands = [f"Brand {each}" for each in range(6)]
        jobs = [await world.submit(brand=each) for each in brands]
        await world.quiet()
        for _ in range(3):  # looks that find no room change nothing, not even the order
            assert await world.states() == {"submitted": 2, "reserved": 4}
            await world.sweep()
        assert (await world.counts())["submits"] == 2

        for each in jobs[:2]:
            await give_up(world, each)

        async def all_done() -> bool | None:
            await world.sweep()
            states = await world.states()
            assert states.get("submitting", 0) + states.get("submitted", 0) <= 2
            return True if states == {"cancelled": 2, "ready": 4} else None

        await eventually(all_done)
        prompts = [each["prompt"] for each in await world.requests()]
        told = [next(each for each in brands if each in prompt) for prompt in prompts]
        assert sorted(told) == brands[2:], "fal forgets what it took out of its queue"
        assert {*told[:2]} == {*brands[2:4]}, "the oldest went next"
        assert (await world.audit()).violations == []


async def test_a_job_that_waits_in_line_can_be_given_up(s3: ObjectStore) -> None:
    async with open_world(s3, MAX_AT_FAL="1") as world:
        await world.grant(100)
        await world.faults("queue=600", times=100)
        await world.submit()
        await world.quiet()
        second = await world.submit(brand="second")
        await world.quiet()
        await give_up(world, second)
        await world.until_state(second, "cancelled")
        assert await world.money() == (60, 40, 0)
        assert (await world.counts())["submits"] == 1


async def test_what_was_sent_long_ago_holds_up_nobody(s3: ObjectStore) -> None:
    """An outcome that is never learned must not stop everybody else for ever."""
    async with open_world(s3, MAX_AT_FAL="1") as world:
        await world.grant(100)
        await world.faults("queue=600")
        await world.submit()
        await world.quiet()
        second = await world.submit(brand="second")
        await world.sweep()
        assert await world.states() == {"submitted": 1, "reserved": 1}
        await world.runtime.store.database.write(
            "UPDATE video_job SET attempted_at = time::now() - 7h WHERE state = 'submitted'"
        )
        await world.sweep()
        await world.until(second, "completed")
