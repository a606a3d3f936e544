"""fal-video dev: the whole service on this machine, until stopped."""

import argparse
import asyncio
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from service.commands.children import ChildFailed
from service.commands.local import CREDITS, USER, Local, running_web, sandbox_environment
from service.commands.running import BAD_USE, FAILED, complain, say
from service.domain.errors import ServiceError
from service.logs import configure_logging
from service.settings import Settings, SettingsError
from service.stopping import stop_on_signal

REAL_FAL: Final = "FAL_KEY"
REAL_R2: Final = "R2_ENDPOINT_URL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--render-seconds", default="5", help="how long the stand-in renders")


def run(options: argparse.Namespace) -> int:
    configure_logging("console")
    given = {
        name.upper(): os.environ[name.upper()]
        for name in Settings.model_fields
        if os.environ.get(name.upper())
    }
    if REAL_FAL in given and REAL_R2 not in given:
        return complain("real fal cannot reach a stand-in for R2: set the R2_ settings", BAD_USE)
    if REAL_FAL in given and "PUBLIC_BASE_URL" not in given:
        return complain("real fal needs PUBLIC_BASE_URL: a tunnel to this machine", BAD_USE)
    try:
        return asyncio.run(_dev(options, given, _folder(fresh=REAL_R2 not in given)))
    except SettingsError as error:
        return complain(str(error), BAD_USE)
    except (ChildFailed, ServiceError, OSError) as error:
        return complain(str(error), FAILED)


def _folder(*, fresh: bool) -> Path:
    """The data of `dev`. R2's stand-in forgets its objects, so its jobs are forgotten too."""
    folder = Path(".fal-video").absolute() / "dev"
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def _dev(options: argparse.Namespace, given: Mapping[str, str], folder: Path) -> int:
    stop = stop_on_signal()
    async with AsyncExitStack() as stack:
        stand_ins: dict[str, str] = {}
        if REAL_FAL not in given or REAL_R2 not in given:
            stand_ins = await stack.enter_async_context(
                sandbox_environment(
                    ["--render-seconds", options.render_seconds], folder / "sandbox.log"
                )
            )
        settings = {
            **{name: value for name, value in stand_ins.items() if _wanted(name, given)},
            "ALLOW_RETIRED_PROVIDERS": str(REAL_FAL not in given).lower(),
            "WEBHOOK_SEAL_KEY": _kept_key(folder / "seal.key"),
            "OPS_TOKEN": _kept_key(folder / "ops.token"),
            "LOG_FORMAT": "console",
            **given,
        }
        local = await stack.enter_async_context(
            running_web(
                settings, folder, port=options.port, sandbox_url=stand_ins.get("FAL_QUEUE_URL")
            )
        )
        _print_guide(local)
        await stop.wait()
        say("stopping")
    return 0


def _wanted(name: str, given: Mapping[str, str]) -> bool:
    """Whether a stand-in's setting applies: not where the real service is configured."""
    if name.startswith("FAL_"):
        return REAL_FAL not in given
    if name.startswith("R2_"):
        return REAL_R2 not in given
    return True


def _kept_key(path: Path) -> str:
    """A secret that outlives a restart, so that webhooks under way still fit, and sign-ins."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32), "utf-8")
    return path.read_text("utf-8")


def _print_guide(local: Local) -> None:
    say(f"serving {local.url} as {USER} with {CREDITS} credits; logs in {local.logs}")
    if local.sandbox_url:
        say(f"stand-ins for fal and R2: {local.sandbox_url}/sandbox/requests shows what fal saw")
    say(f"operators: {local.url}/ops with the token {local.environment['OPS_TOKEN']}")
    say("try:")
    say(f"  curl -F startImage=@IMAGE.png {local.url}/api/templates/video \\")
    say("""    -F 'data={"templateSlug": "night-life-roller", "variables": {"BRAND": "Acme"}}'""")
    say(f"  curl '{local.url}/api/templates/video/status?jobId=JOB'")
    say("stop with Ctrl-C")
