"""fal-video reconciler: the sidecar. Needs a database server; embedded, `web` sweeps itself."""

import argparse

from service.commands.running import run_command, say, say_json
from service.flows.reconcile import sweep_once
from service.settings import Needs, Settings
from service.stopping import stop_on_signal
from service.web.metrics import build_sidecar_app
from service.web.serving import serve
from service.wiring import auditing, open_runtime
from service.worker import Pulse, running_reconciler, running_retention, running_worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="one sweep, then say what it did")


def run(options: argparse.Namespace) -> int:
    return run_command(sweep if options.once else sweep_until_stopped, Needs.WORK)


async def sweep(settings: Settings) -> int:
    async with (
        open_runtime(settings) as runtime,
        running_worker(runtime.services, runtime.nudges, runtime.holder),
    ):
        done = await sweep_once(runtime.services)
        await runtime.nudges.quiet()
    say_json(
        {
            "deliveries": done.deliveries,
            "jobs": done.jobs,
            "problems": done.problems,
            "actions": done.actions,
        }
    )
    return 1 if done.problems else 0


async def sweep_until_stopped(settings: Settings) -> int:
    """Sweep until SIGTERM or SIGINT, then give back leases and close."""
    stop = stop_on_signal()
    pulse = Pulse(settings.reconcile_interval_s)
    async with (
        open_runtime(settings) as runtime,
        running_worker(runtime.services, runtime.nudges, runtime.holder),
        running_reconciler(runtime.services, settings.reconcile_interval_s, pulse),
        auditing(runtime),
        running_retention(runtime.services),
    ):
        say("sweeping")
        if settings.reconciler_port is None:
            await stop.wait()
        else:
            await serve(
                build_sidecar_app(runtime, pulse),
                settings.host,
                settings.reconciler_port,
                stop=stop,
                on_ready=lambda port: say(f"listening on http://{settings.host}:{port}"),
            )
    return 0
