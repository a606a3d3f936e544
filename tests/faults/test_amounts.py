"""Amounts that are odd, and sums over any sequence of them."""

import itertools
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.credits import MAX_GRANT, check_grant
from service.domain.errors import Invalid, ServiceError
from service.domain.job import JobError, JobState
from service.ports import Grounds, Reserved
from tests.store import bench
from tests.world import World

ANYTHING: Final = st.integers() | st.sampled_from([0, -1, 1, MAX_GRANT, MAX_GRANT + 1, 2**63])
AMOUNTS: Final = st.integers(1, 50) | st.integers(MAX_GRANT - 9, MAX_GRANT)
STEPS: Final = st.lists(
    st.tuples(st.sampled_from(["grant", "reserve", "capture", "release"]), AMOUNTS), max_size=14
)
_numbers: Final = itertools.count(1)


@given(ANYTHING)
@settings(max_examples=60, deadline=None)
def test_only_an_amount_within_its_bounds_is_granted(amount: int) -> None:
    """F72: nothing negative, nothing that could overflow a sum of 63 bits."""
    if 0 < amount <= MAX_GRANT:
        check_grant("a@b.example", amount)
    else:
        with pytest.raises(Invalid):
            check_grant("a@b.example", amount)


@pytest.mark.parametrize(
    "amount", [-1, 0.1, 1.5, 2**63, 2**64, -(2**63), float("nan"), float("inf"), "5", True, None]
)
async def test_the_database_itself_refuses_an_odd_amount(world: World, amount: Any) -> None:
    """F72: whatever slips past us is not written: integers from 0 on, and sums that add up."""
    await world.grant(100)
    database = world.runtime.store.database
    before = await database.read("SELECT * FROM account")
    with pytest.raises(ServiceError):
        await database.write("UPDATE account SET available = granted - $n, reserved = $n", n=amount)
    assert await database.read("SELECT * FROM account") == before
    assert (await world.audit()).violations == []


@given(steps=STEPS)
@settings(max_examples=15, deadline=None)
async def test_any_sequence_of_amounts_adds_up_to_the_last_credit(
    standing: World, steps: list[tuple[str, int]]
) -> None:
    """F72: against plain integers, with amounts up to the largest there can be."""
    store = standing.runtime.store
    name = next(_numbers)
    email, held = f"amounts{name}@example.com", dict[str, int]()
    granted = available = captured = 0
    for number, (step, amount) in enumerate(steps):
        job_id = f"amount{name}x{number}"
        if step == "grant":
            await store.grant(email, amount, job_id)
            granted, available = granted + amount, available + amount
        elif step == "reserve":
            new = bench.new_job(job_id, email=email, credits=amount)
            outcome = await store.reserve(new, max_in_flight=99, grace_s=600)
            enough = amount <= available
            assert outcome is (Reserved.RESERVED if enough else Reserved.INSUFFICIENT)
            if enough:
                available, held[job_id] = available - amount, amount
        elif held:
            oldest, credits_ = next(iter(held.items()))
            del held[oldest]
            if step == "capture":
                await _deliver(standing, oldest)
                captured += credits_
            else:
                error = JobError(code="x", message="x")
                await store.close_unfilled(oldest, JobState.FAILED, error, Grounds())
                available += credits_
    balance = await store.balance(email)
    found = (balance.granted, balance.available, balance.reserved, balance.captured)
    assert found == (granted, available, sum(held.values()), captured)


async def _deliver(world: World, job_id: str) -> None:
    store = world.runtime.store
    await store.apply_rendered(job_id, "r", None, entry_id=None)
    leased = await store.lease(job_id, "tests", lease_s=600)
    assert leased is not None
    await bench.settle(store, leased)
