"""Reading a job's events as a browser would."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from service.domain.job import Job
from tests.world import World

EVENTS = "/api/templates/video/events"


class Events:
    """An open stream. `comments` counts the heartbeats; `next` is the next event's data.

    Keep it: the stream is closed when nothing refers to its lines any more.
    """

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.comments = 0
        self.ids: list[str] = []

    async def next(self) -> dict[str, Any] | None:
        """None once the stream has ended in order."""
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            if line.startswith("id: "):
                self.ids.append(line.removeprefix("id: "))
            if line.startswith("data: "):
                found: dict[str, Any] = json.loads(line.removeprefix("data: "))
                assert self.ids[-1] == str(found["version"])
                return found
        return None

    async def rest(self) -> list[dict[str, Any]]:
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


@asynccontextmanager
async def watching(world: World, job_id: str, email: str, **headers: str) -> AsyncIterator[Events]:
    async with world.http.stream(
        "GET", EVENTS, params={"jobId": job_id}, headers=world.headers(email) | headers
    ) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield Events(answer.aiter_lines())


class Flaky:
    """A store whose reads of many jobs fail now and then, as one behind a bad network would."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.failures: list[Exception] = []
        self.looks = 0

    async def versions(self, job_ids: list[str]) -> dict[str, int]:
        self.looks += 1
        if self.failures:
            raise self.failures.pop()
        return dict.fromkeys(job_ids, self.job.version)

    async def jobs_named(self, job_ids: list[str]) -> list[Job]:
        return [self.job] * len(job_ids)
