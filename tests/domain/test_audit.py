"""The audit sees each way in which rows can disagree, and nothing in rows that agree."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from service.domain.audit import AuditAccount, AuditJob, Invariant, check_account, check_job
from service.domain.credits import EntryKind
from service.domain.job import JobState, Settlement, Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = AuditAccount(
    name="a@b",
    granted=20,
    available=8,
    reserved=5,
    captured=7,
    in_flight=1,
    entries={
        EntryKind.GRANT: 20,
        EntryKind.RESERVE: 15,
        EntryKind.CAPTURE: 7,
        EntryKind.RELEASE: 3,
    },
    open_jobs=1,
    open_credits=5,
)
OPEN = AuditJob(
    id="v1",
    state=JobState.SUBMITTED,
    status=Status.PROCESSING,
    credits=7,
    parked=False,
    due=NOW,
    taken_over=False,
    has_error=False,
    object_key=None,
    object_size=None,
    object_sha256=None,
    settlement=None,
    settled_credits=None,
    library_key=None,
)
READY = dataclasses.replace(
    OPEN,
    state=JobState.READY,
    status=Status.COMPLETED,
    due=None,
    object_key="k",
    object_size=3,
    object_sha256="ab",
    settlement=Settlement.CAPTURE,
    settled_credits=7,
    library_key="k",
)
FAILED = dataclasses.replace(
    OPEN,
    state=JobState.FAILED,
    status=Status.FAILED,
    due=None,
    has_error=True,
    settlement=Settlement.RELEASE,
    settled_credits=7,
)


DELETED = dataclasses.replace(READY, library_key=None, deleted=True, purge_due=NOW)


def test_rows_that_agree_violate_nothing() -> None:
    assert check_account(ACCOUNT) == []
    parked = dataclasses.replace(OPEN, due=None, parked=True)
    purged = dataclasses.replace(DELETED, purge_due=None, purged=True)
    for job in (OPEN, READY, FAILED, DELETED, purged, parked):
        assert check_job(job) == []


@pytest.mark.parametrize(
    "change",
    [
        {"granted": 21},
        {"available": 9},
        {"reserved": 4},
        {"captured": 8},
        {"in_flight": 2},
        {"open_credits": 4},
        {"entries": {}},
        {"entries": {**ACCOUNT.entries, EntryKind.RELEASE: 4}},
    ],
)
def test_an_account_that_disagrees_in_anything_is_out_of_balance(change: dict[str, Any]) -> None:
    found = check_account(dataclasses.replace(ACCOUNT, **change))
    assert {each.invariant for each in found} == {Invariant.BALANCED}
    assert {each.subject for each in found} == {"a@b"}


def test_a_negative_amount_is_found_even_if_everything_adds_up() -> None:
    account = dataclasses.replace(
        ACCOUNT,
        granted=0,
        available=-5,
        reserved=5,
        captured=0,
        entries={EntryKind.RESERVE: 5},
    )
    assert [each.problem for each in check_account(account)] == ["a negative amount"]


@pytest.mark.parametrize(
    ("job", "change", "invariant"),
    [
        (OPEN, {"due": None}, Invariant.MOVING),
        (OPEN, {"status": Status.PENDING}, Invariant.MOVING),
        (OPEN, {"settlement": Settlement.RELEASE}, Invariant.SETTLED_ONCE),
        (OPEN, {"library_key": "k"}, Invariant.DELIVERED),
        (READY, {"due": NOW}, Invariant.MOVING),
        (READY, {"parked": True}, Invariant.MOVING),
        (READY, {"settlement": None}, Invariant.SETTLED_ONCE),
        (READY, {"settlement": Settlement.RELEASE}, Invariant.SETTLED_ONCE),
        (READY, {"settled_credits": 6}, Invariant.SETTLED_ONCE),
        (READY, {"library_key": None}, Invariant.DELIVERED),
        (READY, {"library_key": "other"}, Invariant.DELIVERED),
        (READY, {"object_sha256": None}, Invariant.DELIVERED),
        (READY, {"object_size": 0}, Invariant.DELIVERED),
        (FAILED, {"settlement": Settlement.CAPTURE}, Invariant.SETTLED_ONCE),
        (FAILED, {"settlement": None}, Invariant.SETTLED_ONCE),
        (FAILED, {"has_error": False}, Invariant.CLOSED_BY_VERDICT),
        (FAILED, {"library_key": "k"}, Invariant.DELIVERED),
        (DELETED, {"library_key": "k"}, Invariant.DELIVERED),
        (DELETED, {"purge_due": None}, Invariant.PURGED),
        (READY, {"purge_due": NOW}, Invariant.PURGED),
        (READY, {"purged": True}, Invariant.PURGED),
        (OPEN, {"deleted": True, "purge_due": NOW}, Invariant.PURGED),
    ],
)
def test_a_job_whose_rows_disagree_violates_that_invariant(
    job: AuditJob, change: dict[str, Any], invariant: Invariant
) -> None:
    found = check_job(dataclasses.replace(job, **change))
    assert {each.invariant for each in found} == {invariant}


def test_only_a_job_that_ended_before_us_is_excused() -> None:
    old = dataclasses.replace(
        FAILED, taken_over=True, settlement=None, has_error=False, settled_credits=None
    )
    assert check_job(old) == []
    assert check_job(dataclasses.replace(old, taken_over=False)) != []
    assert check_job(dataclasses.replace(old, settlement=Settlement.CAPTURE)) != []
    running = dataclasses.replace(OPEN, taken_over=True, due=None)
    assert [each.invariant for each in check_job(running)] == [Invariant.MOVING]
