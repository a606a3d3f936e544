"""Guards to drop: those of the ledger and of a job's road from order to video. See test_guards."""

from service.domain.job import JobState
from tests.store import test_credits, test_due, test_inbox, test_lists, test_moves, test_submission
from tests.store.bench import OWNER
from tests.store.drops import Drop

moves = test_moves.test_a_move_happens_once_from_the_states_that_allow_it_and_from_no_other
notes = test_moves.test_a_note_is_written_only_in_its_states_and_never_moves_the_job
parked = test_moves.test_a_parked_job_is_moved_by_no_machinery
attempts = test_submission.test_the_answer_to_an_earlier_attempt_changes_nothing
pages = test_lists.test_pages_of_jobs_are_newest_first_complete_and_the_owners_own
fences = test_submission.test_the_holder_of_a_lost_lease_changes_nothing
never_due = test_due.test_a_handled_or_parked_delivery_is_never_due
parked_due = test_due.test_a_parked_job_is_never_due
outcomes = test_inbox.test_the_first_outcome_stays


ROAD_DROPS = [
    # derived ids
    Drop(
        "grant_credits",
        "CREATE $entry",
        test_credits.test_a_grant_is_added_once_however_often_it_is_sent,
        "CREATE ledger",
    ),
    Drop(
        "grant_credits",
        "IF $old = NONE",
        test_credits.test_a_grant_is_added_once_however_often_it_is_sent,
        "IF true",
    ),
    *(
        Drop(
            "grant_credits",
            f"$old.{field} != ${field}",
            test_credits.test_another_grant_under_the_same_id_is_refused_and_not_taken_for_a_repeat,
            "false",
            arguments,
        )
        for field, arguments in (
            ("account", {"email": "bea@example.com", "amount": 10}),
            ("credits", {"email": OWNER, "amount": 20}),
        )
    ),
    Drop(
        "reserve",
        "CREATE $entry",
        test_credits.test_the_ledger_tells_a_jobs_whole_story_newest_first,
        "CREATE ledger",
    ),
    Drop(
        "settle_ready",
        "CREATE $settlement",
        test_credits.test_the_ledger_tells_a_jobs_whole_story_newest_first,
        "CREATE ledger",
    ),
    Drop(
        "close_unfilled",
        "CREATE $settlement",
        test_credits.test_release_then_capture_is_the_release_alone,
        "CREATE ledger",
    ),
    Drop("settle_ready", "CREATE $library", moves, "CREATE library", {"name": "settle"}),
    Drop(
        "record_deliveries",
        "OMIT grace",
        test_inbox.test_a_repeat_leaves_a_handled_delivery_handled,
        "OMIT grace, id",
    ),
    Drop(
        "record_deliveries",
        "FROM $rows)",
        test_inbox.test_a_repeat_leaves_a_handled_delivery_handled,
        "FROM $rows) ON DUPLICATE KEY UPDATE handled_at = NONE",
    ),
    Drop(
        "add_template",
        "IF (SELECT id FROM ONLY $template) != NONE { RETURN false };",
        test_lists.test_templates_are_kept_and_an_operators_wording_stays,
    ),
    # reserve
    Drop(
        "reserve",
        "IF $old != NONE { RETURN IF $old.digest = $digest { 'exists' } ELSE { 'conflict' } };",
        test_credits.test_a_repeated_reservation_exists_and_holds_nothing_more,
    ),
    Drop(
        "reserve",
        "$old.digest = $digest",
        test_credits.test_another_request_under_the_same_id_is_a_conflict,
        "true",
    ),
    Drop(
        "reserve",
        "available >= $credits AND ",
        test_credits.test_a_reservation_without_credit_changes_nothing,
        arguments={"granted": 6},
    ),
    Drop(
        "reserve",
        "AND in_flight < $max_in_flight",
        test_credits.test_more_unfinished_jobs_than_allowed_are_refused_until_one_ends,
    ),
    Drop(
        "read_jobs",
        "account = $account AND deleted_at = NONE ORDER",
        pages,
        "deleted_at = NONE ORDER",
    ),
    Drop(
        "read_jobs",
        "account = $account AND deleted_at = NONE AND created_at <=",
        pages,
        "created_at <=",
    ),
    Drop("read_jobs", "created_at <= $last.created_at AND", pages),
    Drop("read_jobs", "AND (created_at < $last.created_at OR id < $before)", pages),
    Drop(
        "read_jobs",
        "OR id < $before",
        test_lists.test_jobs_of_the_same_instant_are_all_listed,
    ),
    Drop(
        "read_jobs",
        "OR $last.account != $account",
        test_lists.test_a_page_after_a_job_that_is_not_the_owners_is_not_found,
        arguments={"whose": "another's"},
    ),
    # submission
    Drop("begin_submission", "state = 'reserved' AND ", moves, arguments={"name": "begin"}),
    Drop("begin_submission", " AND parked = false", parked, arguments={"name": "begin"}),
    Drop(
        "record_submission",
        "state IN ['reserved', 'submitting', 'submit_unknown'] AND ",
        moves,
        arguments={"name": "record"},
    ),
    Drop(
        "record_submission",
        "IF parked { NONE } ELSE",
        parked,
        arguments={"name": "record"},
    ),
    Drop(
        "record_submission",
        "AND submit_attempts = $attempt",
        attempts,
        arguments={"name": "record"},
    ),
    Drop(
        "record_submission",
        "WHERE fal_request_id = $request_id",
        test_submission.test_a_submission_is_recorded_with_its_addresses,
    ),
    Drop("submission_unknown", "state = 'submitting' AND ", moves, arguments={"name": "unknown"}),
    Drop(
        "submission_unknown",
        "AND submit_attempts = $attempt",
        attempts,
        arguments={"name": "unknown"},
    ),
    Drop(
        "submission_void",
        "state IN ['submitting', 'submit_unknown', 'submitted'] AND ",
        moves,
        arguments={"name": "void"},
    ),
    Drop("submission_void", "AND parked = false", parked, arguments={"name": "void"}),
    Drop("submission_void", "AND submit_attempts = $attempt", attempts, arguments={"name": "void"}),
    Drop(
        "count_lookup",
        "state IN ['submit_unknown', 'submitted'] AND ",
        notes,
        arguments={"name": "count_lookup"},
    ),
    Drop(
        "count_lookup",
        "AND (looked_up_at = NONE OR looked_up_at + <duration>$apart <= time::now())",
        test_submission.test_lookups_are_counted_and_start_anew_with_each_attempt,
    ),
    Drop(
        "count_lookup",
        """,
        due = time::now() + <duration>$again_in""",
        test_submission.test_the_next_lookup_is_due_as_soon_as_it_would_count,
    ),
    Drop("count_lookup", "AND parked = false", parked, arguments={"name": "count_lookup"}),
    Drop(
        "begin_submission",
        "looked_up_at = NONE,",
        test_submission.test_lookups_are_counted_and_start_anew_with_each_attempt,
    ),
    Drop(
        "submission_void",
        "WHERE handled_at = NONE",
        test_inbox.test_a_broken_request_closes_its_entry_and_the_first_outcome_stays,
    ),
    # inbox
    Drop("take_delivery", "handled_at = NONE AND ", never_due, arguments={"ending": "closed"}),
    Drop("take_delivery", "AND parked = false", never_due, arguments={"ending": "parked"}),
    Drop("close_delivery", "WHERE handled_at = NONE", outcomes),
    Drop("park_delivery", "handled_at = NONE AND ", outcomes),
    Drop(
        "park_delivery",
        "AND parked = false",
        test_inbox.test_a_parked_entry_waits_for_a_person_who_may_close_it,
    ),
    Drop(
        "due_deliveries",
        "due > d'1970-01-01T00:00:00Z' AND ",
        never_due,
        arguments={"ending": "parked"},
    ),
    Drop(
        "read_health",
        "WHERE due > d'1970-01-01T00:00:00Z'",
        never_due,
        arguments={"ending": "closed"},
    ),
    # verdicts
    Drop("apply_rendered", "WHERE state IN $only_from", moves, arguments={"name": "rendered"}),
    Drop(
        "apply_rendered",
        "array::union(past_requests, [fal_request_id])",
        test_submission.test_whichever_request_is_first_with_a_video_is_the_jobs,
        "past_requests",
    ),
    Drop(
        "apply_rendered",
        "WHERE handled_at = NONE",
        test_inbox.test_a_verdict_closes_its_entry_in_the_same_transaction,
    ),
    Drop(
        "close_unfilled",
        "state IN $only_from AND ",
        moves,
        arguments={"name": "fail"},
    ),
    Drop(
        "close_unfilled",
        "{ fence = $fence }",
        fences,
        "{ true }",
        {"name": "close"},
    ),
    Drop(
        "close_unfilled",
        "AND ($attempt = NONE OR submit_attempts = $attempt)",
        test_submission.test_a_refusal_of_an_earlier_attempt_is_refused,
    ),
    Drop(
        "close_unfilled",
        "{ state != 'rendered' }",
        test_submission.test_no_word_of_fal_and_no_owner_undoes_a_video,
        "{ true }",
    ),
    Drop(
        "close_unfilled",
        "fal_request_id ?? $request_id",
        test_submission.test_a_close_of_the_right_request_keeps_that_request,
        "$request_id",
    ),
    Drop(
        "close_unfilled",
        "WHERE handled_at = NONE",
        test_inbox.test_a_refusal_closes_its_entry_and_the_first_outcome_stays,
    ),
    # leases and fences
    Drop("lease", "state = 'rendered' AND ", test_submission.test_only_a_rendered_job_is_leased),
    Drop("lease", "AND parked = false", test_moves.test_a_parked_job_gets_no_lease),
    Drop(
        "lease",
        "AND (lease_until = NONE OR lease_until <= time::now())",
        test_submission.test_a_lease_is_exclusive_and_counts_the_attempt_first,
    ),
    Drop(
        "lease",
        "OR lease_until <= time::now()",
        test_submission.test_a_lease_that_ran_out_goes_to_the_next_with_a_higher_fence,
    ),
    Drop("lease", "fence += 1, ", fences, arguments={"name": "settle"}),
    Drop("heartbeat", "AND fence = $fence", fences, arguments={"name": "heartbeat"}),
    Drop(
        "heartbeat",
        "AND lease_until != NONE",
        test_submission.test_a_lease_given_back_is_free_at_once_and_no_longer_ours,
    ),
    Drop("give_back", "AND fence = $fence", fences, arguments={"name": "give_back"}),
    Drop(
        "give_back",
        "AND lease_until != NONE",
        test_submission.test_a_lease_given_back_is_free_at_once_and_no_longer_ours,
    ),
    Drop("new_source", "state = 'rendered' AND ", notes, arguments={"name": "new_source"}),
    Drop("new_source", "AND fence = $fence", fences, arguments={"name": "new_source"}),
    Drop(
        "park",
        "state = $state AND ",
        test_moves.test_a_park_decided_in_another_state_is_refused,
    ),
    Drop(
        "park",
        "AND parked = false",
        test_moves.test_a_park_keeps_its_first_reason_and_the_reservation,
    ),
    Drop(
        "park",
        "AND (lease_until = NONE OR lease_until <= time::now() OR fence = $fence)",
        fences,
        arguments={"name": "park"},
    ),
    Drop(
        "park",
        "OR lease_until <= time::now()",
        test_submission.test_only_the_holder_parks_a_leased_job_until_the_lease_is_over,
    ),
    Drop(
        "park",
        "AND state NOT IN ['ready', 'failed', 'cancelled']",
        test_moves.test_a_job_that_has_ended_is_never_parked,
        arguments={"state": JobState.READY},
    ),
    Drop(
        "settle_ready",
        "parked = false,",
        test_moves.test_a_job_settled_while_parked_is_no_longer_parked,
    ),
    Drop(
        "park",
        "OR fence = $fence",
        test_submission.test_the_holder_may_close_and_park_under_its_own_fence,
    ),
    Drop("settle_ready", "state = 'rendered' AND ", moves, arguments={"name": "settle"}),
    Drop("settle_ready", "AND fence = $fence", fences, arguments={"name": "settle"}),
    # what is due
    Drop(
        "due_jobs",
        "AND (state NOT IN $leave OR (state = 'reserved' AND if_finished != NONE))",
        test_due.test_what_is_paused_is_left_in_its_place,
    ),
    Drop(
        "due_jobs",
        "ORDER BY sweeps, since",
        test_due.test_those_that_were_looked_at_before_keep_no_fresh_one_waiting,
    ),
    Drop(
        "due_jobs",
        "sweeps, since LIMIT",
        test_due.test_a_batch_is_no_larger_than_asked_and_those_that_waited_longest_come_first,
        "sweeps LIMIT",
    ),
    Drop(
        "due_jobs",
        "due > d'1970-01-01T00:00:00Z' AND ",
        parked_due,
        arguments={"state": JobState.SUBMITTED},
    ),
    Drop(
        "due_jobs",
        ", sweeps += 1",
        test_due.test_each_fruitless_look_puts_the_next_one_further_off,
    ),
    Drop(
        "make_due",
        "due > time::now() AND ",
        parked_due,
        arguments={"state": JobState.SUBMITTED},
    ),
    Drop(
        "make_due",
        "AND (lease_until = NONE OR lease_until <= time::now())",
        test_due.test_a_hint_makes_a_job_due_now_unless_it_is_leased_or_ended,
    ),
]
