"""`python -m tests.bench.seeded`: the sandbox in its own process, with a known signing key."""

import asyncio
import sys
from dataclasses import replace
from typing import Final

from service.sandbox.server import run_sandbox
from service.stopping import stop_on_signal
from tests.web.deliveries import SEED
from tests.world import TINY

READY: Final = "# ready"
RENDER_S: Final = 0.5  # a webhook that comes before its submission's answer costs another write


async def main() -> None:
    """Print the settings that lead here, then serve until SIGTERM."""
    stop = stop_on_signal()
    async with run_sandbox(replace(TINY, signing_seed=SEED, render_s=RENDER_S)) as sandbox:
        said = [f"{name}={value}" for name, value in sandbox.environment().items()]
        sys.stdout.write("\n".join([*said, READY, ""]))
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
