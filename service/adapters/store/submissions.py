"""From the reservation to a request fal is known to have; see ports.store.Submissions."""

from service.adapters.rows import inbox_record, job_record, new_job_params, seconds
from service.adapters.store.base import QueryStore
from service.domain.job import IfFinished, Job, NewJob, Submission
from service.ports import Reserved


class SubmissionStore(QueryStore):
    async def reserve(self, job: NewJob, *, max_in_flight: int, grace_s: float) -> Reserved:
        outcome = await self._write(
            "reserve",
            **new_job_params(job),
            digest=job.digest,
            max_in_flight=max_in_flight,
            grace=seconds(grace_s),
        )
        return Reserved(outcome)

    async def begin_submission(self, job_id: str, *, grace_s: float, max_at_fal: int) -> Job | None:
        return await self._moved(
            "begin_submission", job_id, grace=seconds(grace_s), max_at_fal=max_at_fal
        )

    async def count_at_fal(self, limit: int) -> int:
        return int(await self._read("count_at_fal", limit=limit))

    async def record_submission(
        self, job_id: str, attempt: int, submission: Submission, *, expected_s: float
    ) -> bool:
        return await self._did(
            "record_submission",
            job_id,
            attempt=attempt,
            request_id=submission.request_id,
            status_url=submission.status_url,
            response_url=submission.response_url,
            cancel_url=submission.cancel_url,
            expected=seconds(expected_s),
        )

    async def submission_unknown(
        self, job_id: str, attempt: int, reason: str, *, grace_s: float
    ) -> bool:
        return await self._did(
            "submission_unknown", job_id, attempt=attempt, reason=reason, grace=seconds(grace_s)
        )

    async def submission_void(
        self,
        job: Job,
        reason: str,
        *,
        retry_in_s: float,
        request_id: str | None = None,
        entry_id: str | None = None,
    ) -> bool:
        return await self._did(
            "submission_void",
            job.id,
            attempt=job.submit_attempts,
            reason=reason,
            retry_in=seconds(retry_in_s),
            request_id=request_id,
            entry=inbox_record(entry_id),
        )

    async def count_lookup(self, job: Job, *, apart_s: float, again_in_s: float) -> int:
        counted = await self._write(
            "count_lookup",
            job=job_record(job.id),
            attempt=job.submit_attempts,
            apart=seconds(apart_s),
            again_in=seconds(again_in_s),
        )
        return int(counted)

    async def request_cancel(
        self, job_id: str, if_finished: IfFinished, *, grace_s: float = 0.0
    ) -> bool:
        return await self._did(
            "request_cancel", job_id, if_finished=if_finished.value, grace=seconds(grace_s)
        )

    async def cancel_accepted(self, job_id: str, request_id: str, *, grace_s: float) -> bool:
        return await self._did(
            "cancel_accepted", job_id, request_id=request_id, grace=seconds(grace_s)
        )
