"""Guards to drop: those of what comes after a job's end. See test_guards."""

from tests.store import test_afterwards, test_moves
from tests.store.drops import Drop

notes = test_moves.test_a_note_is_written_only_in_its_states_and_never_moves_the_job
attempts = test_afterwards.test_an_attempt_is_counted_first_and_the_next_put_off_further
set_once = test_afterwards.test_a_thumbnail_is_set_once_and_the_version_tells
of_deleted = test_afterwards.test_a_thumbnail_for_a_deleted_job_makes_its_purge_begin_anew
batch = test_afterwards.test_what_is_due_is_taken_once_and_others_do_not_fill_the_batch
given_up = test_afterwards.test_one_that_has_had_its_attempts_is_given_up
purged = test_afterwards.test_a_deleted_one_is_given_up_and_what_it_may_have_left_is_purged

AFTERWARDS_DROPS = [
    Drop(
        "begin_afterwards",
        "thumbnail_due != NONE AND",
        notes,
        arguments={"name": "begin_afterwards"},
    ),
    Drop("begin_afterwards", "AND (thumbnail_attempts ?? 0) <= $last", attempts),
    Drop(
        "begin_afterwards",
        "AND deleted_at = NONE",
        test_afterwards.test_a_deleted_job_gets_no_attempt,
    ),
    Drop("set_thumbnail", "state = 'ready' AND", notes, arguments={"name": "set_thumbnail"}),
    Drop("set_thumbnail", "AND deleted_at = NONE", of_deleted),
    Drop("set_thumbnail", "AND thumbnail_key = NONE", set_once),
    Drop("set_thumbnail", "WHERE deleted_at != NONE", set_once),
    Drop(
        "drop_thumbnail",
        "WHERE thumbnail_due != NONE",
        notes,
        arguments={"name": "drop_thumbnail"},
    ),
    Drop("due_thumbnails", "thumbnail_due > d'1970-01-01T00:00:00Z' AND", batch),
    Drop(
        "due_thumbnails",
        "AND thumbnail_due <= time::now()",
        test_afterwards.test_a_settled_job_is_final_and_only_its_thumbnail_is_due,
    ),
    Drop(
        "due_thumbnails",
        "deleted_at != NONE AND thumbnail_attempts",
        given_up,
        "thumbnail_attempts",
    ),
    Drop(
        "due_thumbnails",
        "AND thumbnail_attempts > 0",
        purged,
        arguments={"attempts": 0, "again": (False, 3)},
    ),
    Drop(
        "due_thumbnails",
        "deleted_at != NONE OR",
        purged,
        arguments={"attempts": 0, "again": (False, 3)},
    ),
    Drop("due_thumbnails", "OR thumbnail_attempts >= $attempts", given_up),
    Drop(
        "due_thumbnails",
        "OR finished_at + <duration>$age <= time::now()",
        test_afterwards.test_one_that_ended_long_ago_is_given_up,
    ),
    Drop("due_thumbnails", "WHERE thumbnail_due != NONE RETURN", given_up, "RETURN"),
    Drop(
        "note_render_time",
        "0, $keep",
        test_afterwards.test_the_latest_render_times_of_a_model_are_kept,
        "0, 1000",
    ),
]
