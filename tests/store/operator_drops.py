"""Guards to drop: those of refunds, of operators' lists, of pauses by hand. See test_guards."""

from service.domain.job import JobState
from tests.store import test_operators as lists
from tests.store import test_people, test_refunds
from tests.store.drops import Drop

once = test_refunds.test_a_job_is_refunded_once
by_amount = test_refunds.test_an_amount_is_refunded_once_under_its_id_and_no_more_than_was_spent
pages = lists.test_every_list_of_jobs_is_complete_and_in_order_page_by_page
ties = lists.test_jobs_made_at_one_instant_are_each_on_one_page
longest = lists.test_parked_and_due_jobs_are_listed_longest_first_page_by_page
gone = lists.test_a_page_after_a_job_that_is_not_there_is_not_found
stays = lists.test_no_probe_touches_a_pause_by_hand
shut = lists.test_what_a_person_paused_is_shut_for_everybody_until_a_person_resumes_it
waiting = test_people.test_waiting_deliveries_are_listed_oldest_first

OPERATOR_DROPS = [
    # refunds
    Drop("refund_job", "IF (SELECT id FROM ONLY $entry) != NONE { RETURN 'repeat' };", once),
    Drop("refund_job", "(CREATE $entry", once, "(CREATE ledger"),
    Drop(
        "refund_job",
        "$spent = NONE OR $spent.kind != 'capture'",
        test_refunds.test_a_job_that_has_captured_nothing_is_not_refunded,
        "$spent = NONE",
        {"state": JobState.FAILED},
    ),
    Drop(
        "refund_job",
        "WHERE captured >= $spent.credits",
        test_refunds.test_what_was_given_back_by_amount_is_not_given_back_by_job_again,
    ),
    Drop("refund_account", "(CREATE $entry", by_amount, "(CREATE ledger"),
    Drop("refund_account", "$old.account = $account AND", by_amount),
    Drop("refund_account", "AND $old.credits = $credits", by_amount),
    Drop("refund_account", "WHERE captured >= $credits", by_amount),
    # lists
    Drop("list_jobs", "(created_at < $last OR id < $before)", pages, "true"),
    Drop("list_jobs", "OR id < $before", ties),
    Drop("list_jobs", "IF $last = NONE { RETURN NONE };", gone),
    Drop("list_jobs_in_state", "WHERE state = $state AND created_at < $last", pages, "WHERE true"),
    Drop("list_jobs_in_state", "AND id < $before", ties),
    Drop("list_jobs_of", "account = $account AND", pages),
    Drop("list_jobs_of", "AND ($state = NONE OR state = $state)", pages),
    Drop("list_jobs_of", "OR id < $before", ties),
    Drop("list_parked_jobs", "parked = true AND", longest),
    Drop("list_parked_jobs", "AND ($state = NONE OR state = $state)", longest),
    Drop("list_due_jobs", "AND due <= time::now()", longest),
    Drop("list_due_jobs", "AND ($account = NONE OR account = $account)", longest),
    Drop("list_waiting_deliveries", "WHERE due > d'1970-01-01T00:00:00Z'", waiting),
    Drop("list_parked_deliveries", "parked = true AND", waiting),
    Drop(
        "list_parked_deliveries",
        "AND handled_at = NONE",
        test_people.test_parked_deliveries_are_listed_oldest_first_until_they_are_handled,
    ),
    Drop("list_deliveries_of", "WHERE job = $job", waiting),
    Drop(
        "read_receipt",
        "WHERE job = $job ORDER BY at LIMIT $limit),",
        lists.test_a_jobs_record_has_everything_that_is_its_own,
        "LIMIT $limit),",
    ),
    Drop(
        "note_action",
        "IF (SELECT id FROM ONLY $action) != NONE { RETURN true };",
        lists.test_actions_are_noted_once_and_the_latest_come_first,
    ),
    # pauses by hand
    Drop("gate", "$old.manual = true OR", shut),
    Drop("pause", "IF $old.manual = true { RETURN false };", stays, arguments={"probed": True}),
    Drop("resume", "WHERE manual != true RETURN", stays, "RETURN", {"probed": False}),
    Drop("pause_by_hand", "manual = true, failures", shut, "failures"),
    Drop("pause_by_hand", "AND $old.reason = $reason { RETURN false };", shut, "AND false { };"),
    Drop("read_pauses", "manual = true OR", shut),
]
