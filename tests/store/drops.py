"""Guards to drop: those of cancelling, recovery, what people do, and pauses. See test_guards."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from service.domain.job import IfFinished, JobState
from service.ports import Recovered
from tests.store import (
    test_cancel,
    test_moves,
    test_pauses,
    test_people,
    test_recovery,
    test_submission,
)

Claim = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Drop:
    """A guard to drop from a query, and the test that must notice."""

    query: str
    text: str
    claim: Claim
    instead: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.query}: {' '.join(self.text.split())}"[:70]


moves = test_moves.test_a_move_happens_once_from_the_states_that_allow_it_and_from_no_other
notes = test_moves.test_a_note_is_written_only_in_its_states_and_never_moves_the_job
parked = test_moves.test_a_parked_job_is_moved_by_no_machinery
orders = test_cancel.test_a_cancel_a_video_and_an_end_in_every_order_agree
late = test_recovery.test_only_a_job_that_ended_without_a_video_is_recovered
late_twice = test_recovery.test_of_twenty_recoveries_at_once_one_reserves
put_off = test_people.test_a_delivery_that_is_handled_or_parked_is_not_put_off

MORE_DROPS = [
    # cancelling
    Drop(
        "begin_submission",
        "AND if_finished = NONE",
        test_cancel.test_a_cancelled_job_is_not_sent_any_more,
    ),
    Drop(
        "record_submission",
        "AND $request_id NOT IN past_requests",
        test_submission.test_a_request_that_was_given_up_is_not_taken_up_again,
    ),
    Drop(
        "record_submission",
        "ELSE IF if_finished != NONE { time::now() }",
        test_cancel.test_a_post_that_may_be_on_the_wire_is_waited_for,
    ),
    Drop(
        "record_submission",
        "cancel_accepted_at = NONE,",
        test_cancel.test_fals_agreement_counts_for_the_request_it_was_about,
    ),
    Drop(
        "record_submission",
        "WHERE $request_id NOT IN past_requests AND state NOT IN ['ready', 'failed', 'cancelled']",
        moves,
        arguments={"name": "record"},
    ),
    Drop(
        "request_cancel",
        "state IN ['reserved', 'submitting', 'submit_unknown', 'submitted'] AND (",
        notes,
        "(",
        {"name": "request_cancel"},
    ),
    Drop(
        "request_cancel",
        "AND (if_finished = NONE OR if_finished != $if_finished)",
        test_cancel.test_a_repeat_changes_at_most_the_choice,
    ),
    Drop(
        "request_cancel",
        "cancel_requested_at ?? time::now()",
        test_cancel.test_a_repeat_changes_at_most_the_choice,
        "time::now()",
    ),
    Drop(
        "request_cancel",
        "IF parked OR state = 'submitting' { due } ELSE { time::now() + <duration>$grace }",
        parked,
        "time::now()",
        {"name": "request_cancel"},
    ),
    Drop(
        "request_cancel",
        "OR state = 'submitting'",
        test_cancel.test_a_post_that_may_be_on_the_wire_is_waited_for,
    ),
    Drop(
        "request_cancel",
        "AND if_finished = $if_finished AND state IN "
        "['reserved', 'submitting', 'submit_unknown', 'submitted']",
        test_cancel.test_a_repeat_is_refused_once_there_is_a_video,
    ),
    Drop(
        "request_cancel",
        "AND state IN ['reserved', 'submitting', 'submit_unknown', 'submitted'])) = 1",
        test_cancel.test_a_repeat_is_refused_once_there_is_a_video,
        ")) = 1",
    ),
    Drop(
        "cancel_accepted", "state = 'submitted' AND ", notes, arguments={"name": "cancel_accepted"}
    ),
    Drop(
        "cancel_accepted",
        "AND fal_request_id = $request_id",
        test_cancel.test_fals_agreement_counts_for_the_request_it_was_about,
    ),
    Drop("cancel_accepted", "AND parked = false", parked, arguments={"name": "cancel_accepted"}),
    Drop(
        "cancel_accepted",
        "cancel_accepted_at ?? time::now()",
        test_cancel.test_fals_agreement_is_noted_once_and_its_end_asked_about_later,
        "time::now()",
    ),
    Drop(
        "apply_rendered",
        "AND (if_finished = NONE OR if_finished = 'keep')",
        orders,
        arguments={"choice": IfFinished.DISCARD},
    ),
    Drop(
        "apply_rendered",
        "OR if_finished = 'keep'",
        orders,
        arguments={"choice": IfFinished.KEEP},
    ),
    Drop(
        "close_unfilled",
        "AND ($cost_reason != 'unwanted' OR if_finished = 'discard')",
        test_cancel.test_an_owner_who_wants_the_video_after_all_gets_it,
    ),
    Drop(
        "apply_rendered",
        "ELSE IF $now.state IN $only_from { 'unwanted' }",
        test_cancel.test_an_unwanted_video_closes_the_job_and_its_cost_is_counted,
    ),
    Drop(
        "apply_rendered",
        "AND $outcome NOT IN ['late', 'unwanted']",
        test_recovery.test_the_delivery_of_a_video_that_is_still_to_be_dealt_with_stays_open,
    ),
    # written off
    Drop(
        "apply_rendered",
        "CREATE $surplus",
        test_recovery.test_a_second_requests_video_is_written_off_once,
        "CREATE write_off",
    ),
    Drop(
        "apply_rendered",
        "AND (SELECT id FROM ONLY $surplus) = NONE",
        test_recovery.test_a_second_requests_video_is_written_off_once,
    ),
    Drop(
        "apply_rendered",
        "IF $outcome = 'surplus' AND",
        test_recovery.test_no_other_verdict_on_a_video_is_written_off,
        "IF",
    ),
    Drop(
        "close_unfilled",
        "CREATE $write_off",
        test_recovery.test_a_cost_is_written_off_with_the_close_and_not_without_it,
        "CREATE write_off",
    ),
    Drop(
        "close_unfilled",
        "AND (SELECT id FROM ONLY $write_off) = NONE",
        test_recovery.test_a_cost_is_written_off_with_the_close_and_not_without_it,
    ),
    Drop(
        "close_unfilled",
        "$write_off != NONE AND",
        test_recovery.test_a_cost_is_written_off_with_the_close_and_not_without_it,
    ),
    Drop(
        "close_unfilled",
        "AND $now.state IN ['failed', 'cancelled']",
        test_recovery.test_a_cost_is_not_written_off_on_a_job_that_has_its_video,
    ),
    Drop(
        "close_unfilled",
        "$now.state IN ['failed', 'cancelled']",
        test_cancel.test_an_unwanted_video_is_counted_although_the_job_has_just_ended,
        "count($moved) = 1",
        {"ended_as": JobState.FAILED},
    ),
    Drop(
        "write_off",
        "CREATE $write_off",
        test_recovery.test_a_cost_is_written_off_once_per_request,
        "CREATE write_off",
    ),
    Drop(
        "write_off",
        "IF (SELECT id FROM ONLY $write_off) != NONE { RETURN false };",
        test_recovery.test_a_cost_is_written_off_once_per_request,
    ),
    # recovery
    Drop(
        "recover_late",
        "OR $old.state NOT IN ['failed', 'cancelled']",
        late,
        arguments={"state": JobState.RENDERED},
    ),
    Drop(
        "recover_late",
        "$old = NONE OR",
        test_recovery.test_a_job_that_is_not_there_is_not_recovered,
        "$old != NONE AND",
    ),
    Drop(
        "recover_late",
        "IF (SELECT id FROM ONLY $job) != NONE { RETURN 'repeat' };",
        late_twice,
    ),
    Drop("recover_late", "CREATE $job", late_twice, "CREATE video_job"),
    Drop(
        "recover_late",
        "CREATE $entry",
        test_people.test_a_late_job_shows_its_own_reservation,
        "CREATE ledger",
    ),
    Drop(
        "recover_late",
        "$old.if_finished = 'discard' OR",
        test_recovery.test_what_its_owner_gave_up_for_good_is_not_delivered,
        arguments={"choice": IfFinished.DISCARD, "outcome": Recovered.UNWANTED},
    ),
    Drop(
        "recover_late",
        "WHERE available >= $old.credits",
        test_recovery.test_without_credits_nothing_is_reserved_and_the_owner_is_told_once,
    ),
    Drop(
        "recover_late",
        "WHERE error.message != $kept",
        test_recovery.test_without_credits_nothing_is_reserved_and_the_owner_is_told_once,
    ),
    # another start, by a person
    Drop("redrive", "WHERE parked = true", notes, arguments={"name": "redrive"}),
    Drop(
        "redrive",
        "looked_up_at = NONE,",
        test_people.test_a_redriven_job_is_due_at_once_with_its_counts_begun_anew,
        arguments={"state": JobState.SUBMITTED},
    ),
    Drop(
        "redrive_delivery",
        "parked = true AND",
        test_people.test_a_redriven_delivery_is_due_at_once_as_if_new,
    ),
    Drop(
        "redrive_delivery",
        "AND handled_at = NONE",
        test_people.test_a_handled_delivery_is_never_redriven,
    ),
    Drop("put_off_delivery", "handled_at = NONE AND", put_off, arguments={"ending": "handled"}),
    Drop("put_off_delivery", "AND parked = false", put_off, arguments={"ending": "parked"}),
    Drop(
        "put_off_delivery",
        "math::max([attempts - 1, 0])",
        test_people.test_an_attempt_that_says_nothing_about_a_delivery_is_taken_back,
        "attempts - 1",
    ),
    # pauses
    Drop(
        "gate",
        "IF $old = NONE { RETURN 'open' };",
        test_pauses.test_what_is_not_paused_is_open_for_everybody,
    ),
    Drop(
        "gate",
        "OR $old.until > time::now()",
        test_pauses.test_a_paused_activity_is_shut_until_its_time_is_over,
    ),
    Drop(
        "gate",
        "UPDATE $pause SET until = time::now() + <duration>$probe;",
        test_pauses.test_of_twenty_at_the_gate_when_a_pause_is_over_one_goes_first,
    ),
    Drop(
        "pause",
        "IF $old = NONE {",
        test_pauses.test_of_twenty_that_fail_at_once_one_raises_the_alarm,
        "IF $old = NONE OR true {",
    ),
    Drop(
        "pause",
        "CREATE $pause",
        test_pauses.test_of_twenty_that_fail_at_once_one_raises_the_alarm,
        "CREATE pause",
    ),
    Drop(
        "pause",
        "IF $probed {",
        test_pauses.test_a_failure_from_before_the_probe_does_not_lengthen_the_pause,
        "IF true {",
    ),
]
