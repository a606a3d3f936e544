"""A command of the service that kills itself: `python -m tests.crash.process POINT web`.

The same wiring, doors in between, and a real SIGKILL at the first passing of POINT.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, cast

import pytest
from starlette.applications import Starlette

from service.__main__ import main
from service.adapters.fal import HttpFal
from service.adapters.metered import MeteredBucket, MeteredFal
from service.adapters.object_store import R2Bucket
from service.adapters.surreal import Database
from service.commands import web
from service.settings import Settings
from service.web.app import build_app
from service.wiring import Runtime, open_runtime
from tests.crash.doors import Doors, Wiring, with_doors, with_front_doors
from tests.crash.plan import Fault, Kind, Plan
from tests.crash.points import MIGRATING

MIGRATED_BEFORE: Final = 20  # statements: in the middle of the second migration, of the tables


class Real:
    """This process."""

    dead = False

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def stop(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    async def hang(self) -> None:
        raise AssertionError("a real process is only killed")


def kill_at(point: str, patched: pytest.MonkeyPatch) -> None:
    """Put the doors in, and the death behind one of them."""
    process = Real()
    doors = Doors(process, Plan(Fault(point, Kind.KILL)))

    @asynccontextmanager
    async def opened(settings: Settings) -> AsyncIterator[Runtime]:
        async with open_runtime(settings) as runtime:
            services = with_doors(runtime.services, doors, _wiring(runtime))
            yield replace(runtime, services=services)

    def built(runtime: Runtime) -> Starlette:
        app = build_app(runtime)
        assert app.middleware_stack is not None
        app.middleware_stack = with_front_doors(app.middleware_stack, doors)
        return app

    patched.setattr(web, "open_runtime", opened)
    patched.setattr(web, "build_app", built)
    if point == MIGRATING:
        _kill_while_migrating(process, patched)


def _kill_while_migrating(process: Real, patched: pytest.MonkeyPatch) -> None:
    real, run = Database.script, 0

    async def script(self: Database, text: str) -> list[Any]:
        nonlocal run
        run += 1
        result = await real(self, text)
        if run == MIGRATED_BEFORE:
            process.die()
        return result

    patched.setattr(Database, "script", script)


def _wiring(runtime: Runtime) -> Wiring:
    bucket = cast("R2Bucket", cast("MeteredBucket", runtime.services.bucket).bucket)
    fal = cast("HttpFal", cast("MeteredFal", runtime.services.fal).fal)
    return Wiring(
        s3=bucket._s3,
        bucket=bucket._settings,
        limits=bucket._limits,
        transport=fal._client._transport,
        fal=fal._settings,
    )


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as context:
        kill_at(sys.argv[1], context)
        sys.exit(main(sys.argv[2:]))
