"""What the outside sees: rows as the JSON of the interface (camelCase, RFC 3339 instants)."""

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from service.domain.credits import Balance, LedgerEntry
from service.domain.job import Job, JobState, Status
from service.domain.providers import PROVIDERS, Provider
from service.domain.templates import Template
from service.ports import Services
from service.web.answers import (
    CreditsView,
    JobView,
    LedgerEntryView,
    LibraryItem,
    ProviderView,
    TemplateView,
)

# Progress is an estimate until the end: shares of the bar, in percent.
SUBMITTED_PERCENT: Final = 5
RENDERING_PERCENT: Final = 85  # reached when the expected render time is over
RENDERED_PERCENT: Final = 90
# A signed link stays good for at least half its life after a 304 sent the client back to it.
LINK_RENEWALS: Final = 2
LINKS: Final = 4_096  # kept; 0.5 kB each

_TAG: Final = re.compile(r'"([0-9]{1,9})-[0-9a-f]{20}"')


def job_view(services: Services, job: Job) -> JobView:
    """A job's status. `url`, `key` and `credits` (spent) once it is completed.

    `previewUrl` is fal's own copy, while ours is being made: from then on the job cannot be
    cancelled any more, so nobody watches a video and gives it back. Only an address that we would
    fetch ourselves is passed on.
    """
    done = job.state is JobState.READY and job.object_key is not None
    return {
        "jobId": job.id,
        "status": job.status,
        "progress": progress(job),
        "etaSeconds": eta_s(job),
        "previewUrl": services.source.shown(job.source_url)
        if job.state is JobState.RENDERED and job.source_url
        else None,
        "url": _link(services, job, job.object_key) if done else None,
        "thumbnailUrl": _link(services, job, job.thumbnail_key) if done else None,
        "key": job.object_key if done else None,
        "credits": job.credits if done else None,
        "ifFinished": job.if_finished if not job.is_final else None,
        "error": {"code": job.error.code, "message": job.error.message} if job.error else None,
        "version": job.version,
        "createdAt": instant(job.created_at),
        "updatedAt": instant(job.updated_at),
    }


def job_tag(services: Services, job: Job) -> str:
    """The entity tag of a job's status: the same exactly as long as the answer means the same.

    A completed job's signed link is renewed while it is still good, so the tag changes then.
    """
    renewal = _renewal(services, job) if job.state is JobState.READY else 0
    parts = f"{job.id} {job.version} {progress(job)} {eta_s(job)} {renewal}"
    return f'W/"{job.version}-{hashlib.sha256(parts.encode()).hexdigest()[:20]}"'


def _renewal(services: Services, job: Job) -> int:
    """Which of a link's renewals it is: the number of the half-life that the read was in."""
    return int(job.read_at.timestamp() // (services.policy.video_url_s / LINK_RENEWALS))


def _link(services: Services, job: Job, key: str | None) -> str | None:
    if key is None:
        return None
    return _signed(services.bucket.url, key, services.policy.video_url_s, _renewal(services, job))


@lru_cache(maxsize=LINKS)
def _signed(sign: Callable[[str, int], str], key: str, valid_s: int, _renewal: int) -> str:
    """One link for all reads until its renewal: signing it costs as much as reading the row."""
    return sign(key, valid_s)


def tagged_version(tags: str) -> int | None:
    """The version of a job that a client has seen, by the entity tag it sends along."""
    found = _TAG.search(tags)
    return int(found[1]) if found else None


def library_item(services: Services, job: Job) -> LibraryItem:
    """A job as an entry of its owner's list."""
    return {
        **job_view(services, job),
        "templateSlug": job.template_id,
        "provider": job.provider,
        "durationSeconds": job.duration_s,
        "price": job.credits,
    }


def progress(job: Job) -> int:
    """How far along a job is, in percent; 100 only when it is completed."""
    match job.status:
        case Status.COMPLETED:
            return 100
        case Status.FAILED:
            return 0
        case Status.PENDING:
            return 0
        case Status.PROCESSING:
            if job.state is JobState.RENDERED:
                return RENDERED_PERCENT
            share = _elapsed_s(job) / max(_usual_s(job), 1)
            span = RENDERING_PERCENT - SUBMITTED_PERCENT
            return SUBMITTED_PERCENT + int(span * min(share, 1.0))


def eta_s(job: Job) -> int | None:
    """Seconds until completion as the provider's latest videos took; None where nobody can tell."""
    match job.state:
        case JobState.SUBMITTED:
            left = _usual_s(job) - _elapsed_s(job)
            return math.ceil(left) if left > 0 else None
        case JobState.RESERVED | JobState.SUBMITTING:
            return _usual_s(job) or None
        case _:
            return None


def template_view(template: Template, *, allow_retired: bool) -> TemplateView:
    """A template with what can be chosen for it."""
    return {
        "slug": template.slug,
        "title": template.title,
        "variables": list(template.variables),
        "provider": template.provider,
        "duration": template.duration_s,
        "providers": [
            _provider_view(provider)
            for provider in PROVIDERS.values()
            if allow_retired or provider.retired_on is None
        ],
    }


def credits_view(balance: Balance, entries: Sequence[LedgerEntry]) -> CreditsView:
    return {
        "available": balance.available,
        "reserved": balance.reserved,
        "entries": [_entry_view(entry) for entry in entries],
    }


def instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _provider_view(provider: Provider) -> ProviderView:
    return {
        "name": provider.name,
        "title": provider.title,
        "creditsPerSecond": provider.credits_per_s,
        "durations": list(provider.durations_s),
        "credits": {str(each): provider.price(each) for each in provider.durations_s},
        "expectedRenderSeconds": provider.expected_render_s,
    }


def _entry_view(entry: LedgerEntry) -> LedgerEntryView:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "credits": entry.credits,
        "jobId": entry.job_id,
        "at": instant(entry.at),
    }


def _usual_s(job: Job) -> int:
    """What its model's latest videos took, or before there are any, what is said of it."""
    return job.expected_render_s if job.usual_render_s is None else job.usual_render_s


def _elapsed_s(job: Job) -> float:
    return (job.read_at - (job.submitted_at or job.created_at)).total_seconds()
