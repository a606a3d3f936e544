"""The state tables agree with each other and with the design."""

from service.domain.job import FINAL, NEXT, SETTLES, STATUS, JobState, Settlement, enters_from


def test_every_state_has_a_row_in_every_table() -> None:
    assert set(NEXT) == set(STATUS) == set(JobState)
    assert set().union(*NEXT.values()) <= set(JobState)


def test_exactly_the_final_states_settle() -> None:
    assert set(SETTLES) == FINAL == {JobState.READY, JobState.FAILED, JobState.CANCELLED}
    assert SETTLES[JobState.READY] is Settlement.CAPTURE
    assert {SETTLES[JobState.FAILED], SETTLES[JobState.CANCELLED]} == {Settlement.RELEASE}


def test_nothing_leaves_a_final_state_and_every_other_state_can_end() -> None:
    for state, following in NEXT.items():
        assert state not in following
        if state in FINAL:
            assert not following
        else:
            assert JobState.FAILED in following
            assert JobState.CANCELLED in following


def test_a_video_is_stored_only_from_rendered() -> None:
    assert enters_from(JobState.READY) == {JobState.RENDERED}


def test_enters_from_is_next_read_backwards() -> None:
    for state in JobState:
        for before in JobState:
            assert (before in enters_from(state)) == (state in NEXT[before])


def test_statuses_are_those_of_the_design() -> None:
    assert {state.value: status.value for state, status in STATUS.items()} == {
        "reserved": "pending",
        "submitting": "pending",
        "submit_unknown": "pending",
        "submitted": "processing",
        "rendered": "processing",
        "ready": "completed",
        "failed": "failed",
        "cancelled": "failed",
    }
