"""Orderly stops: the first SIGTERM or SIGINT asks a process to drain and end."""

import asyncio
import signal


def stop_on_signal() -> asyncio.Event:
    """An event that is set by SIGTERM or SIGINT, in place of their sudden death."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
