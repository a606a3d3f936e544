"""B3: status reads a second, by wrk: with an answer, and without one where nothing is new."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from service.domain.job import JobState
from tests.bench.deliveries import lua_script, request
from tests.bench.effort import Effort
from tests.bench.pairs import in_turns, paired
from tests.bench.results import Result, ratio_of
from tests.bench.sides import image_url, prompt
from tests.bench.stand import App, Bench, running_bench, whole
from tests.bench.wrk import rate
from tests.world import OWNER, token

JOBS: Final = 64
TARGET: Final = 0.85
OLD_TARGET: Final = 20.0
OLD_CLIENTS: Final = 16
OLD_LEAST_S: Final = 2.0  # it answers so few that a busy second might see none
FAL_S: Final = 0.05  # the way to fal and back
OURS: Final = "/api/templates/video/status?jobId="
BARE: Final = "/status?jobId="


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Jobs that are asked about in turn, and whether their reader has seen them already."""

    what: str
    job_ids: list[str]
    seen: bool


async def measure(effort: Effort) -> list[Result]:
    """Jobs that render and jobs that are completed, read anew; and some that have not changed."""
    async with running_bench(effort.folder) as bench:
        ours, bare = await bench.web(), await bench.bare()
        renders = await bench.jobs(JOBS, JobState.SUBMITTED)
        completed = await bench.jobs(JOBS, JobState.READY)
        questions = [
            Question(what="200 of one that renders", job_ids=renders, seen=False),
            Question(what="200 of a completed one", job_ids=completed, seen=False),
            Question(what="304", job_ids=completed, seen=True),
        ]
        results = [await _beside_bare(bench, effort, each, ours, bare) for each in questions]
        return [*results, await _beside_old(bench, effort, renders[0], ours)]


async def _beside_bare(
    bench: Bench, effort: Effort, question: Question, ours: App, bare: App
) -> Result:
    scripts = {
        "ours": await _script(bench, ours.url, OURS, question),
        "bare route": await _script(bench, bare.url, BARE, question),
    }
    urls = {"ours": ours.url, "bare route": bare.url}

    async def reads(name: str) -> float:
        return await rate(urls[name], whole(effort.seconds), script=scripts[name])

    ways = {name: lambda name=name: reads(name) for name in scripts}
    found = await in_turns(ways, pairs=effort.pairs)
    return ratio_of(
        "B3",
        f"status reads, {question.what}",
        paired(found, "ours", "bare route"),
        names=("ours", "bare route and one select"),
        unit="/s",
        want=">=",
        target=TARGET,
        notes=f"16 connections, {JOBS} jobs in turn. Ours checks a signed sign-in and whose job it "
        "is; reads that come while others are under way share the next query.",
    )


async def _script(bench: Bench, url: str, path: str, question: Question) -> Path:
    """For wrk; every request in it was tried, and is answered as it should be."""
    asked = [await _request(bench, url, path + each, question) for each in question.job_ids]
    return lua_script(bench.new_file("reads.lua"), asked, again=True)


async def _request(bench: Bench, url: str, path: str, question: Question) -> bytes:
    headers = {"Authorization": f"Bearer {token(OWNER)}"}
    answer = await bench.http.get(url + path, headers=headers)
    assert answer.status_code == 200, answer.text
    if question.seen:
        headers["If-None-Match"] = answer.headers["ETag"]
        assert (await bench.http.get(url + path, headers=headers)).status_code == 304
    return request("GET", path, headers)


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
