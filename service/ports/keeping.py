"""What retention needs from the database: old words and old images, a batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StartImage:
    """An ended job's start image in the bucket."""

    job_id: str
    key: str


class Keeping(Protocol):
    """How long things are kept. Durations are seconds; every method raises Transient."""

    async def begin_chore(self, name: str, *, apart_s: float) -> bool:
        """Whether it is this process's turn at what one process does for all."""
        ...

    async def note_sweep(self, *, gap_s: float) -> datetime:
        """Since when somebody has swept without a gap of so long."""
        ...

    async def empty_handled(self, limit: int, *, age_s: float) -> int: ...
    async def empty_parked(self, limit: int, *, age_s: float) -> int: ...
    async def old_start_images(
        self, limit: int, *, age_s: float, skip: int = 0
    ) -> list[StartImage]:
        """The oldest but those `skip`: they could not be removed in this turn."""
        ...

    async def note_images_removed(self, job_ids: Sequence[str]) -> int: ...
    async def longest_parked_s(self) -> float | None: ...
