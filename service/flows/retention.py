"""How long things are kept: fal's raw words, and start images of jobs that have ended.

Once in a while one process empties and removes what is old, in bounded batches, oldest first; what
it does not get to, or dies at, is left for the next time. Nothing here decides anything about a
job: a parked job waits for its person however long, and the log says how long that has been.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

from service.domain.errors import Transient
from service.ports import Services
from service.ports.keeping import StartImage

log = logging.getLogger(__name__)

CHORE: Final = "retention"
APART_S: Final = 3600.0  # what is kept for days may be kept for an hour more
BATCH: Final = 100  # raw deliveries are some 10 KiB each: a transaction of a megabyte
BATCHES: Final = 200  # of each kind in one turn: what is left of an hour is left for the next
REMOVALS_AT_ONCE: Final = 8


@dataclass(slots=True)
class Kept:
    """What one turn did."""

    handled_emptied: int = 0
    parked_emptied: int = 0
    images_removed: int = 0
    images_left: int = 0  # the store did not let go of them: next time
    longest_parked_s: float | None = None


async def keep_once(services: Services) -> Kept | None:
    """One turn, if it is due and nobody else has it; else None.

    Two that overlap, or one that is repeated, find what the other left. Raises Transient if the
    database is away.
    """
    store, policy = services.store, services.policy
    if not await store.begin_chore(CHORE, apart_s=APART_S):
        return None
    kept = Kept()
    handled = partial(store.empty_handled, BATCH, age_s=policy.keep_deliveries_s)
    kept.handled_emptied = await _in_batches(handled)
    parked = partial(store.empty_parked, BATCH, age_s=policy.keep_parked_s)
    kept.parked_emptied = await _in_batches(parked)
    await _remove_images(services, kept)
    kept.longest_parked_s = await store.longest_parked_s()
    _tell(kept, policy.keep_parked_s)
    return kept


async def _in_batches(empty: Callable[[], Awaitable[int]]) -> int:
    total = 0
    for _ in range(BATCHES):
        done = await empty()
        total += done
        if done < BATCH:
            break
    return total


async def _remove_images(services: Services, kept: Kept) -> None:
    """First out of the bucket, then off the list: a death in between repeats the removal."""
    store = services.store
    for _ in range(BATCHES):
        images = await store.old_start_images(
            BATCH, age_s=services.policy.keep_start_images_s, skip=kept.images_left
        )
        if not images:
            return
        removed = await _removed(services, images)
        kept.images_removed += await store.note_images_removed(removed)
        kept.images_left += len(images) - len(removed)


async def _removed(services: Services, images: list[StartImage]) -> list[str]:
    """The jobs whose image is gone now."""
    gate = asyncio.Semaphore(REMOVALS_AT_ONCE)

    async def remove(image: StartImage) -> str | None:
        async with gate:
            try:
                await services.bucket.delete(image.key)
            except Transient as error:
                facts = {"job_id": image.job_id, "reason": str(error)}
                log.warning("an old start image is not removed", extra=facts)
                return None
            return image.job_id

    done = await asyncio.gather(*(remove(each) for each in images))
    return [each for each in done if each is not None]


def _tell(kept: Kept, patience_s: float) -> None:
    late = kept.longest_parked_s is not None and kept.longest_parked_s > patience_s
    said = "retention: a job has waited long for a person" if late else "retention"
    log.log(logging.WARNING if late else logging.INFO, said, extra=asdict(kept))
