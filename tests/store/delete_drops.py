"""Guards to drop: those of deleting, purging and closing accounts. See test_guards."""

from service.domain.job import JobState
from tests.store import test_closing, test_delete, test_purge
from tests.store.drops import Drop

ended = test_delete.test_an_ended_job_loses_what_is_personal_and_keeps_what_is_the_books
never = test_purge.test_what_is_not_deleted_is_never_purged
pages = test_delete.test_a_deleted_job_is_in_no_list_of_its_owner_and_pages_go_on_from_it
late = test_delete.test_a_late_video_of_what_is_gone_is_not_delivered
emptied = test_purge.test_handled_deliveries_are_emptied_and_the_others_left
brought = test_purge.test_the_delivery_that_brought_a_late_video_is_emptied_with_it
raw = test_purge.test_no_purge_is_done_while_a_raw_delivery_is_there
anew = test_purge.test_something_new_begins_a_purge_anew_that_was_done
found = test_closing.test_what_can_be_done_about_is_what_is_found
left = test_closing.test_a_closed_account_is_due_until_no_job_of_it_is_left
open_account = test_closing.test_an_open_account_is_never_emptied
ready = {"state": JobState.READY}

DELETE_DROPS = [
    Drop(
        "begin_delete",
        "state IN ['ready', 'failed', 'cancelled'] AND",
        test_delete.test_an_unfinished_job_is_not_deleted,
        arguments={"state": JobState.SUBMITTED},
    ),
    Drop(
        "begin_delete",
        "AND deleted_at = NONE",
        test_delete.test_a_second_delete_changes_nothing,
    ),
    Drop("begin_delete", "$now = NONE OR", test_delete.test_a_second_delete_changes_nothing),
    Drop("begin_delete", "DELETE $library;", pages),
    Drop("begin_delete", "source_url = NONE, metadata = NONE,", ended, arguments=ready),
    Drop("read_jobs", "AND deleted_at = NONE ORDER", pages, "ORDER"),
    Drop("read_jobs", "AND deleted_at = NONE AND created_at", pages, "AND created_at"),
    Drop(
        "due_removals",
        "purge_due > d'1970-01-01T00:00:00Z' AND",
        test_purge.test_a_purge_that_is_done_is_due_no_more_and_says_what_was_kept,
    ),
    Drop(
        "due_removals",
        "AND purge_due <= time::now()",
        test_purge.test_an_attempt_is_counted_first_and_the_next_one_put_off_further,
    ),
    Drop(
        "due_removals",
        "close_due > d'1970-01-01T00:00:00Z' AND",
        test_closing.test_a_repeated_close_keeps_its_instant_and_looks_again,
    ),
    Drop(
        "due_removals",
        "AND close_due <= time::now()",
        test_closing.test_a_closed_account_is_put_off_while_others_are_looked_at,
    ),
    Drop("take_purge", "deleted_at != NONE AND", never, arguments=ready),
    Drop(
        "take_purge",
        "AND purge_due != NONE",
        test_purge.test_a_purge_that_is_done_is_due_no_more_and_says_what_was_kept,
    ),
    Drop(
        "take_purge",
        "AND purge_due <= time::now()",
        test_purge.test_an_attempt_is_counted_first_and_the_next_one_put_off_further,
    ),
    Drop("purge_again", "deleted_at != NONE AND", never, arguments=ready),
    Drop("purge_again", "AND purge_due = NONE", anew),
    Drop("unhandled_deliveries", "job = $job AND", emptied),
    Drop("unhandled_deliveries", "AND handled_at = NONE", emptied),
    Drop(
        "empty_deliveries",
        "job = $job AND",
        emptied,
    ),
    Drop(
        "empty_deliveries", "WHERE job = $job AND handled_at != NONE", emptied, "WHERE job = $job"
    ),
    Drop("empty_deliveries", "job = $recovers AND", brought),
    Drop("empty_deliveries", "AND request_id = $request_id", brought),
    Drop(
        "empty_deliveries",
        "AND request_id = $request_id AND handled_at != NONE",
        brought,
        "AND request_id = $request_id",
    ),
    Drop(
        "note_forgotten",
        "IF (SELECT id FROM ONLY $forgotten) != NONE { RETURN false };",
        test_delete.test_which_requests_fal_has_forgotten_is_noted_once,
    ),
    Drop(
        "note_forgotten",
        "CREATE $forgotten",
        test_delete.test_which_requests_fal_has_forgotten_is_noted_once,
        "CREATE forgotten_request",
    ),
    Drop("finish_purge", "job = $job AND", raw, arguments={"outcome": None}),
    Drop("finish_purge", "handled_at = NONE OR", raw, arguments={"outcome": None}),
    Drop("finish_purge", "OR body != $nothing", raw, arguments={"outcome": "x"}),
    Drop("finish_purge", "deleted_at != NONE AND", never, arguments=ready),
    Drop(
        "finish_purge",
        "AND purge_due != NONE",
        test_purge.test_a_purge_that_is_done_is_due_no_more_and_says_what_was_kept,
    ),
    Drop(
        "finish_purge",
        "AND purge_attempts = $attempt",
        test_purge.test_an_older_attempt_does_not_finish_a_newer_one,
    ),
    Drop(
        "settle_ready",
        "UPDATE $job SET purge_due = time::now(), purge_attempts = 0 WHERE deleted_at != NONE;",
        test_purge.test_who_stores_a_video_after_all_begins_the_purge_anew,
    ),
    Drop(
        "settle_ready",
        "WHERE deleted_at != NONE",
        test_purge.test_who_stores_a_video_after_all_begins_the_purge_anew,
    ),
    Drop("recover_late", "OR $old.deleted_at != NONE", late, arguments={"gone": "deleted"}),
    Drop(
        "recover_late",
        "IF (SELECT VALUE closed_at FROM ONLY $old.account) != NONE { RETURN 'unwanted' };",
        late,
        arguments={"gone": "closed"},
    ),
    # closed accounts
    Drop(
        "reserve",
        "closed_at = NONE AND",
        test_closing.test_a_closed_account_reserves_nothing_and_keeps_its_credits,
    ),
    Drop(
        "close_account",
        "closed_at ?? time::now()",
        test_closing.test_a_repeated_close_keeps_its_instant_and_looks_again,
        "time::now()",
    ),
    Drop("take_closing", "closed_at != NONE AND", open_account),
    Drop("take_closing", "AND close_due != NONE", left),
    Drop("take_closing", "AND close_due <= time::now()", left),
    Drop("take_closing", "account = $account AND", left),
    Drop("take_closing", "AND deleted_at = NONE);", left, ");"),
    Drop("take_closing", "account = $account AND", found),
    Drop("take_closing", "AND deleted_at = NONE);", found, ");"),
    Drop("take_closing", "state IN ['ready', 'failed', 'cancelled'] OR", found),
    Drop("take_closing", "OR parked", found),
    Drop("take_closing", "state != 'rendered' AND", found),
    Drop("take_closing", "OR if_finished = 'keep'", found),
    Drop("take_closing", "AND (if_finished = NONE OR if_finished = 'keep')", found),
    Drop("count_jobs", "account = $account AND", found),
    Drop("count_jobs", "AND deleted_at = NONE", found),
]
