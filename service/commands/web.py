"""fal-video web: serves the interface and finalises what it receives."""

import argparse
import asyncio
import contextlib

from service.commands.running import run_command, say
from service.doctor.watch import watching_webhook
from service.settings import Needs, Settings
from service.stopping import stop_on_signal
from service.web.app import build_app
from service.web.control import control_socket
from service.web.serving import serve
from service.wiring import auditing, open_runtime
from service.worker import running_reconciler, running_retention, running_worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Listens on HOST and PORT. All settings come from the environment."


def run(_: argparse.Namespace) -> int:
    return run_command(serve_web, Needs.WEB)


async def serve_web(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; then finish answers, drain the worker, close."""
    stop = stop_on_signal()
    async with open_runtime(settings) as runtime, contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(
            running_worker(runtime.services, runtime.nudges, runtime.holder)
        )
        if settings.embedded:  # the engine belongs to this process: nobody else can sweep
            await stack.enter_async_context(
                running_reconciler(runtime.services, settings.reconcile_interval_s)
            )
            await stack.enter_async_context(auditing(runtime))
            await stack.enter_async_context(running_retention(runtime.services))
        app, listening = build_app(runtime), asyncio.Event()
        await stack.enter_async_context(
            watching_webhook(settings, app.state.health, runtime.services.signals, listening)
        )

        def on_ready(port: int) -> None:
            say(f"listening on http://{settings.host}:{port}")
            listening.set()

        if settings.embedded:  # and nobody else can do what operators ask for
            await stack.enter_async_context(control_socket(runtime))
        await serve(
            app,
            settings.host,
            settings.port,
            stop=stop,
            on_ready=on_ready,
        )
    return 0
