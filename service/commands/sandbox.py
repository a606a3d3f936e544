"""fal-video sandbox: only the stand-ins for fal and R2, for an app started by hand."""

import argparse
import asyncio
from typing import Final

from service.commands.running import BAD_USE, FAILED, complain, say
from service.logs import configure_logging
from service.sandbox.extras import MissingExtraError
from service.sandbox.server import run_sandbox
from service.sandbox.settings import SandboxSettings
from service.stopping import stop_on_signal

READY: Final = "# ready"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fal-port", type=int, default=0, help="0: any free port")
    parser.add_argument("--s3-port", type=int, default=0, help="0: any free port")
    parser.add_argument("--render-seconds", type=float, default=2.0, help="how long a render takes")
    parser.add_argument("--slots", type=int, default=2, help="renders at a time; others queue")
    parser.add_argument("--frame", default="854x480", help="the videos' size, WIDTHxHEIGHT")
    parser.add_argument(
        "--time-scale", type=float, default=1.0, help="shrinks the webhook retry schedule"
    )


def run(options: argparse.Namespace) -> int:
    """Print the environment that points the service here, then serve until stopped."""
    width, _, height = options.frame.partition("x")
    if not (width.isdigit() and height.isdigit()):
        return complain("--frame must be WIDTHxHEIGHT, such as 854x480", BAD_USE)
    configure_logging("console")
    try:
        return asyncio.run(_serve(options, (int(width), int(height))))
    except MissingExtraError as error:
        return complain(str(error), FAILED)
    except OSError as error:
        return complain(f"{error.strerror or error}", FAILED)


async def _serve(options: argparse.Namespace, frame: tuple[int, int]) -> int:
    stop = stop_on_signal()
    settings = SandboxSettings(
        fal_port=options.fal_port,
        s3_port=options.s3_port,
        render_s=options.render_seconds,
        slots=options.slots,
        frame_size=frame,
        time_scale=options.time_scale,
    )
    async with run_sandbox(settings) as sandbox:
        for name, value in sandbox.environment().items():
            say(f"{name}={value}")
        say(READY)
        await stop.wait()
    return 0
