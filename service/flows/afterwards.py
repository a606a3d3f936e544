"""What comes after the money: the render time is noted, and a thumbnail made.

Nothing here can take a video away, or cost or return a credit: whatever fails is logged, tried
again a few times, and then left. A job is as ready without it.
"""

import logging
from typing import Final

from service.domain.errors import ServiceError, Transient
from service.domain.job import Job
from service.domain.policy import MAX_POSTER_SOURCE_BYTES, POSTER_RETRY_S
from service.domain.render_times import render_s
from service.domain.seal import poster_key
from service.ports import Poster, Services

log = logging.getLogger(__name__)

POSTER_TYPE: Final = "image/jpeg"


async def afterwards(services: Services, job_id: str) -> bool:
    """Do what is left for a job that is ready; False if there was nothing to do, or it failed.

    The attempt is counted first, so a video that kills its process is left alone in the end. A
    repeat, or a racer, overwrites the same object with the same picture. Raises Transient if the
    database is away; the row is due again by itself.
    """
    job = await services.store.begin_afterwards(job_id, POSTER_RETRY_S)
    if job is None:
        return False
    if job.thumbnail_attempts == 1:  # once per job, or never: one sample of many
        await _note_render_time(services, job)
    if services.poster is None:
        return False
    try:
        return await _add_thumbnail(services, services.poster, job)
    except ServiceError as error:
        await _not_yet(services, job, error)
        return False


async def _add_thumbnail(services: Services, poster: Poster, job: Job) -> bool:
    """The video is read from our own bucket: fal's copy may be gone, and costs another transfer."""
    assert job.object_key is not None, "a ready job has its object"
    if (job.object_size or 0) > MAX_POSTER_SOURCE_BYTES:
        log.info("no thumbnail of a video this large", extra={"job_id": job.id})
        await services.store.drop_thumbnail(job.id)
        return False
    jpeg = await poster.make(services.bucket.read(job.object_key))
    key = poster_key(job.object_key)
    await services.bucket.put_image(key, jpeg, POSTER_TYPE)
    added = await services.store.set_thumbnail(job.id, key)
    facts = {"job_id": job.id, "bytes": len(jpeg), "outcome": "added" if added else "not wanted"}
    log.info("thumbnail made", extra=facts)
    return added


async def _not_yet(services: Services, job: Job, error: ServiceError) -> None:
    """The row is due again by itself, unless there is no use in that."""
    last = job.thumbnail_attempts >= len(POSTER_RETRY_S) or not isinstance(error, Transient)
    log.warning(
        "no thumbnail" if last else "thumbnail put off",
        extra={
            "job_id": job.id,
            "attempt": job.thumbnail_attempts,
            "reason": f"{type(error).__name__}: {error}",
        },
    )
    if last:
        await services.store.drop_thumbnail(job.id)


async def _note_render_time(services: Services, job: Job) -> None:
    took_s = render_s(job.submitted_at, job.rendered_at)
    if took_s is None or job.fal_model is None:
        return
    try:
        await services.store.note_render_time(job.fal_model, job.duration_s, took_s)
    except Transient as error:
        log.warning("render time not noted", extra={"job_id": job.id, "reason": str(error)})
