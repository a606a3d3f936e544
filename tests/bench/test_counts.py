"""What a job costs in round trips and calls: counts, which no slow machine changes."""

from tests.bench.round_trips import ACK, FINALISE, STATUS, one_job

SUBMIT = 4  # the template, the balance, the usual time, the reservation
HANDLE = 3  # taken, read, applied


async def test_the_round_trips_of_a_job_do_not_grow() -> None:
    counts = await one_job()
    assert counts["ack"] == [ACK]
    assert max(counts["status"]) == STATUS  # one that shares another's query is counted there
    assert len(counts["finalise"]) == 1
    assert counts["finalise"][0] <= FINALISE
    assert counts["video"] == [SUBMIT]
    assert max(counts["handle"]) <= HANDLE
