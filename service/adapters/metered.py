"""fal and the bucket as they are, with their failures counted."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.adapters.s3_calls import StorageFailed
from service.domain.errors import ServiceError, Transient
from service.domain.job import Submission
from service.domain.verdict import Verdict
from service.ports import (
    Accepted,
    Bucket,
    CancelAnswer,
    Declined,
    Download,
    Fal,
    Listed,
    NotAccepted,
    Signals,
    StoredObject,
    SubmitOutcome,
    Unknown,
)
from service.ports.signals import Count


@dataclass(frozen=True, slots=True)
class MeteredFal:
    """Implements ports.Fal."""

    fal: Fal
    signals: Signals

    async def submit(
        self, endpoint: str, arguments: Mapping[str, Any], webhook_url: str
    ) -> SubmitOutcome:
        outcome = await self.fal.submit(endpoint, arguments, webhook_url)
        said, failure = _told(outcome)
        self.signals.count(Count.SUBMISSIONS, outcome=said)
        if failure is not None:
            _count(self.signals, Count.FAL_ERRORS, "submit", failure)
        return outcome

    async def check(self, endpoint: str, submission: Submission) -> Verdict:
        with self._counted("check"):
            return await self.fal.check(endpoint, submission)

    async def result(self, endpoint: str, submission: Submission) -> Verdict:
        with self._counted("result"):
            return await self.fal.result(endpoint, submission)

    async def cancel(self, endpoint: str, submission: Submission) -> CancelAnswer:
        with self._counted("cancel"):
            return await self.fal.cancel(endpoint, submission)

    async def find(
        self,
        endpoint: str,
        needle: str,
        since: datetime,
        until: datetime,
        *,
        forgotten: Collection[str] = (),
    ) -> list[Listed]:
        with self._counted("find"):
            return await self.fal.find(endpoint, needle, since, until, forgotten=forgotten)

    async def forget(self, request_id: str) -> str | None:
        with self._counted("forget"):
            return await self.fal.forget(request_id)

    @contextmanager
    def _counted(self, call: str) -> Iterator[None]:
        try:
            yield
        except Transient as error:
            _count(self.signals, Count.FAL_ERRORS, call, error.code)
            raise


@dataclass(frozen=True, slots=True)
class MeteredBucket:
    """Implements ports.Bucket."""

    bucket: Bucket
    signals: Signals

    async def put_image(self, key: str, data: bytes, content_type: str) -> None:
        with self._counted():
            await self.bucket.put_image(key, data, content_type)

    async def put_video(self, key: str, job_id: str, download: Download) -> StoredObject:
        with self._counted():
            return await self.bucket.put_video(key, job_id, download)

    async def find_video(self, key: str, job_id: str) -> StoredObject | None:
        with self._counted():
            return await self.bucket.find_video(key, job_id)

    async def abort_leftovers(self, key: str) -> int:
        with self._counted():
            return await self.bucket.abort_leftovers(key)

    async def read(self, key: str) -> AsyncIterator[bytes]:
        with self._counted():
            async for chunk in self.bucket.read(key):
                yield chunk

    async def library(self) -> AsyncIterator[str]:
        with self._counted():
            async for key in self.bucket.library():
                yield key

    async def unfinished_uploads(self) -> list[str]:
        with self._counted():
            return await self.bucket.unfinished_uploads()

    async def delete(self, key: str) -> None:
        with self._counted():
            await self.bucket.delete(key)

    def url(self, key: str, expires_in_s: int) -> str:
        return self.bucket.url(key, expires_in_s)

    async def check(self) -> None:
        with self._counted():
            await self.bucket.check()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except StorageFailed as error:
            _count(self.signals, Count.R2_ERRORS, error.operation, _class(error))
            raise


def _told(outcome: SubmitOutcome) -> tuple[str, str | None]:
    """What fal answered to a submission, and how it failed, if it did."""
    match outcome:
        case Accepted():
            return "accepted", None
        case Declined():
            return "declined", None
        case NotAccepted(locked=locked):
            return "not_accepted", "locked" if locked else "not_accepted"
        case Unknown():
            return "unknown", "unknown"


def _class(error: ServiceError) -> str:
    """The error's kind: codes come from the other side, and there could be any number of them."""
    return type(error).__name__


def _count(signals: Signals, what: Count, call: str, kind: str) -> None:
    signals.count(what, 1, **{"call": call, "class": kind})
