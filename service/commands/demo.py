"""fal-video demo: one real image through every real part, on this machine, with no account."""

import argparse
import asyncio
import json
import mimetypes
import shutil
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from service.adapters.audit_store import SurrealAuditStore
from service.commands.audit import print_report
from service.commands.children import ChildFailed
from service.commands.local import USER, Local, running_web, sandbox_environment
from service.commands.running import FAILED, complain, say, say_json
from service.domain.errors import ServiceError
from service.flows.audit import AuditReport, audit
from service.logs import configure_logging
from service.operations.auditing import report_answer
from service.settings import Needs, read_settings
from service.wiring import open_bucket_alone, open_store

START_IMAGE: Final = Path(__file__).parents[1] / "sandbox" / "start.jpg"
LONGEST_S: Final = 180.0
POLL_S: Final = 0.25  # a demo's bar should move; clients poll every 3 s or are pushed to
FINAL: Final = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class Journey:
    """What one submission came to, as its client saw it. Times in seconds since the submit."""

    status: Mapping[str, Any]
    accepted_s: float
    finished_s: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", type=Path, default=START_IMAGE, help="PNG, JPEG or WebP")
    parser.add_argument("--template", default="night-life-roller")
    parser.add_argument("--provider", help="instead of the template's own")
    parser.add_argument("--duration", type=int, help="seconds of video")
    parser.add_argument("--keep", action="store_true", help="leave the data behind")


def run(options: argparse.Namespace) -> int:
    configure_logging("console")
    if not options.image.is_file():
        return complain(f"there is no image {options.image}", 2)
    try:
        return asyncio.run(_demo(options, _new_folder()))
    except (ChildFailed, ServiceError, httpx.HTTPError, TimeoutError) as error:
        return complain(f"{type(error).__name__}: {error}", FAILED)
    except KeyboardInterrupt:
        return 130


def _new_folder() -> Path:
    now = datetime.now().astimezone()
    folder = Path(".fal-video").absolute() / f"demo-{now:%Y%m%d-%H%M%S-%f}"
    folder.mkdir(parents=True)
    return folder


async def _demo(options: argparse.Namespace, folder: Path) -> int:
    async with AsyncExitStack() as stack:
        if not options.keep:
            stack.callback(_tidy, folder)
        environment = await stack.enter_async_context(
            sandbox_environment([], folder / "sandbox.log")
        )
        sandbox_url = environment["FAL_QUEUE_URL"]
        settings = {**environment, "ALLOW_RETIRED_PROVIDERS": "true"}
        async with running_web(settings, folder, port=0, sandbox_url=sandbox_url) as local:
            say(f"service at {local.url}, fal and R2 stand-ins at {sandbox_url}")
            journey = await _animate(local, options)
            say_json(journey.status)
            video = await _download(local, journey, folder)
            await _print_ledger(local)
            counts = await _fal_counts(sandbox_url)
        _print_times(journey, counts)
        report = await _audit(local)
    print_report(report_answer(report))
    say(f"video: {video}" if video else f"no video; logs: {local.logs}")
    return 0 if video is not None and report.passed else FAILED


async def _animate(local: Local, options: argparse.Namespace) -> Journey:
    """Submit over HTTP and follow the status as a browser would, with a bar."""
    async with httpx.AsyncClient(base_url=local.url, timeout=30, trust_env=False) as client:
        order = await _order(client, options)
        started = time.monotonic()
        answer = await client.post(
            "/api/templates/video",
            data={"data": json.dumps(order)},
            files={"startImage": _image(options.image)},
        )
        if answer.status_code != httpx.codes.ACCEPTED:
            raise ChildFailed(f"the order was refused: {answer.text}")
        accepted_s = time.monotonic() - started
        job = answer.json()
        say(f"accepted as job {job['jobId']} for {job['credits']} credits")
        status = await _follow(client, job["jobId"])
        return Journey(status, accepted_s, time.monotonic() - started)


async def _order(client: httpx.AsyncClient, options: argparse.Namespace) -> dict[str, Any]:
    templates = (await client.get("/api/templates")).raise_for_status().json()["templates"]
    template = next((each for each in templates if each["slug"] == options.template), None)
    if template is None:
        known = ", ".join(each["slug"] for each in templates)
        raise ChildFailed(f"there is no template {options.template}; there are {known}")
    order = {
        "templateSlug": options.template,
        "variables": dict.fromkeys(template["variables"], "fal-video"),
    }
    if options.provider:
        order["provider"] = options.provider
    if options.duration:
        order["duration"] = options.duration
    return order


def _image(path: Path) -> tuple[str, bytes, str]:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return path.name, path.read_bytes(), kind


async def _follow(client: httpx.AsyncClient, job_id: str) -> Mapping[str, Any]:
    columns = (TextColumn("{task.description:<12}"), BarColumn(40), TimeElapsedColumn())
    async with asyncio.timeout(LONGEST_S):
        with Progress(*columns) as progress:
            bar = progress.add_task("pending", total=100)
            while True:
                answer = await client.get("/api/templates/video/status", params={"jobId": job_id})
                status: dict[str, Any] = answer.raise_for_status().json()
                progress.update(bar, completed=status["progress"], description=status["status"])
                if status["status"] in FINAL:
                    return status
                await asyncio.sleep(POLL_S)


async def _download(local: Local, journey: Journey, folder: Path) -> Path | None:
    url = journey.status.get("url")
    if not url:
        return None
    path = folder / "video.mp4"
    async with httpx.AsyncClient(base_url=local.url, timeout=60, trust_env=False) as client:
        path.write_bytes((await client.get(url)).raise_for_status().content)
    return path


async def _print_ledger(local: Local) -> None:
    async with httpx.AsyncClient(base_url=local.url, timeout=30, trust_env=False) as client:
        credits_now = (await client.get("/api/credits")).raise_for_status().json()
    say(f"ledger of {USER}:")
    for entry in reversed(credits_now["entries"]):
        say(f"  {entry['at']}  {entry['kind']:<8} {entry['credits']:>6}  {entry['id']}")
    say(f"  available {credits_now['available']}, reserved {credits_now['reserved']}")


async def _fal_counts(sandbox_url: str) -> Mapping[str, int]:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        answer = await client.get(f"{sandbox_url}/sandbox/counts")
    counts: Mapping[str, int] = answer.raise_for_status().json()
    return counts


def _print_times(journey: Journey, counts: Mapping[str, int]) -> None:
    say(
        f"answered after {journey.accepted_s * 1000:.0f} ms, finished after "
        f"{journey.finished_s:.2f} s"
    )
    say(
        f"fal calls: {counts['submits']} submit, {counts['statuses']} status, "
        f"{counts['results']} result; deliveries received: {counts['deliveries']}"
    )


async def _audit(local: Local) -> AuditReport:
    """With the web process ended, the directory is ours: check the invariants on it."""
    settings = read_settings(local.environment, Needs.WORK)
    async with open_store(settings) as store, open_bucket_alone(settings) as bucket:
        return await audit(SurrealAuditStore(store.database), bucket)


def _tidy(folder: Path) -> None:
    """Remove everything but the video; without one keep the logs, which say why."""
    video = folder / "video.mp4"
    if video.exists():
        shutil.rmtree(folder / "data", ignore_errors=True)
        for log in folder.glob("*.log"):
            log.unlink()
