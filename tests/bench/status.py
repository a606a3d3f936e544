"""B3: status reads a second, by wrk: with an answer, and without one where nothing is new."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from service.domain.job import JobState
from tests.bench.effort import Effort
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, ratio_of
from tests.bench.sides import image_url, prompt
from tests.bench.stand import App, Bench, running_bench, whole
from tests.bench.wrk import rate
from tests.world import OWNER, token

TARGET: Final = 0.85
OLD_TARGET: Final = 20.0
OLD_CLIENTS: Final = 16
OLD_LEAST_S: Final = 2.0  # it answers so few that a busy second might see none
FAL_S: Final = 0.05  # the way to fal and back
OURS: Final = "/api/templates/video/status?jobId="
BARE: Final = "/status?jobId="


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A job, and whether its reader has seen it already."""

    what: str
    job_id: str
    seen: bool


async def measure(effort: Effort) -> list[Result]:
    """A job that renders and one that is completed, read anew; and one that has not changed."""
    async with running_bench(effort.folder) as bench:
        ours, bare = await bench.web(), await bench.bare()
        [renders] = await bench.jobs(1, JobState.SUBMITTED)
        [completed] = await bench.jobs(1, JobState.READY)
        questions = [
            Question(what="200 of one that renders", job_id=renders, seen=False),
            Question(what="200 of a completed one", job_id=completed, seen=False),
            Question(what="304", job_id=completed, seen=True),
        ]
        results = [await _beside_bare(bench, effort, each, ours, bare) for each in questions]
        return [*results, await _beside_old(bench, effort, renders, ours)]


async def _beside_bare(
    bench: Bench, effort: Effort, question: Question, ours: App, bare: App
) -> Result:
    asked = {
        "ours": f"{ours.url}{OURS}{question.job_id}",
        "bare route": f"{bare.url}{BARE}{question.job_id}",
    }
    headers = {name: await _headers(bench, url, question) for name, url in asked.items()}

    async def reads(name: str) -> float:
        return await rate(asked[name], whole(effort.seconds), headers=headers[name])

    ways = {name: lambda name=name: reads(name) for name in asked}
    found = await in_turns(ways, pairs=effort.pairs)
    return ratio_of(
        "B3",
        f"status reads, {question.what}",
        paired(found, "ours", "bare route"),
        names=("ours", "bare route and one select"),
        unit="/s",
        want=">=",
        target=TARGET,
        notes="16 connections. Ours checks a signed sign-in and whose job it is.",
    )


async def _beside_old(bench: Bench, effort: Effort, job_id: str, ours: App) -> Result:
    """A job that renders for as long as this takes, which the old design asks fal about."""
    sandbox_port = str(urlsplit(bench.sandbox.fal_url).port)
    far_fal = await bench.app("tests.bench.slow_fal", sandbox_port, f"{FAL_S:g}")
    old = await bench.app("tests.bench.old_design", FAL_QUEUE_URL=far_fal.url)
    order = {"prompt": prompt("old", "delay=3600"), "imageUrl": image_url()}
    answer = await bench.http.post(f"{old.url}/jobs", json=order)
    old_id = answer.raise_for_status().json()["jobId"]
    headers = {"Authorization": f"Bearer {token(OWNER)}"}
    asked = {
        "ours": f"{ours.url}{OURS}{job_id}",
        "the old design": f"{old.url}{BARE}{old_id}",
    }

    async def reads(name: str) -> float:
        seconds = whole(max(effort.seconds, OLD_LEAST_S))
        return await rate(asked[name], seconds, connections=OLD_CLIENTS, headers=headers)

    ways = {name: lambda name=name: reads(name) for name in asked}
    found = await in_turns(ways, pairs=effort.pairs)
    most = OLD_CLIENTS / FAL_S
    return ratio_of(
        "B3",
        f"status reads of {OLD_CLIENTS} clients, old design",
        paired(found, "ours", "the old design"),
        names=("ours", "old design"),
        unit="/s",
        want=">=",
        target=OLD_TARGET,
        notes=f"fal is {FAL_S * 1000:g} ms away, so that {OLD_CLIENTS} clients who wait for it "
        f"get at most {most:g} answers a second: the ratio is bounded by what one process serves.",
    )


async def _headers(bench: Bench, url: str, question: Question) -> Mapping[str, str]:
    """What a reader sends along; checks that it is answered as it should be."""
    headers = {"Authorization": f"Bearer {token(OWNER)}"}
    answer = await bench.http.get(url, headers=headers)
    assert answer.status_code == 200, answer.text
    if question.seen:
        headers["If-None-Match"] = answer.headers["ETag"]
        assert (await bench.http.get(url, headers=headers)).status_code == 304
    return headers
