"""`python -m tests.processes.altered COMMAND`: the real program, altered from outside.

HURRY=0.05 makes every wait that no setting shortens so much shorter: a test run in another time.
POISON=FILE makes the process SIGKILL itself whenever it is about to store the video of the job
that the file names: what an input that kills its worker looks like.
OLDER=1 knows nothing of the newest migration, as a process from before it.
POSTERS=off makes no thumbnails: hundreds of them would be most of what a fleet's test costs.
"""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from service import __main__, wiring
from service.adapters.migrate import find_migrations
from service.adapters.object_store import R2Bucket
from service.commands import reconciler, web
from service.domain.policy import Policy
from service.ports import Download, StoredObject
from service.settings import Settings

# How the service names its waits.
WAITS: Final = ("_GRACE_S", "_RETRY_S", "PROBE_S")
COMMANDS: Final = (web, reconciler)  # what is altered here; loaded, so that their waits are there


def main(environ: Mapping[str, str]) -> int:
    if by := environ.get("HURRY"):
        hurry(float(by))
    if note := environ.get("POISON"):
        poison(Path(note))
    if environ.get("OLDER"):
        forget_the_newest_migration()
    if environ.get("POSTERS") == "off":
        wiring.FramePoster = lambda: None  # type: ignore[assignment, attr-defined, misc]
    return __main__.main()


def hurry(by: float) -> None:
    """Shorten the waits in every module that holds one: each has its own name for the number."""
    for module in [each for name, each in sys.modules.items() if name.startswith("service.")]:
        _shorten(module, by)
    policy_of = wiring._policy

    def hurried(settings: Settings) -> Policy:
        policy = policy_of(settings)
        return replace(
            policy,
            lookup_apart_s=_scaled(policy.lookup_apart_s, by),
            pause_s=_scaled(policy.pause_s, by),
        )

    wiring._policy = hurried


def _shorten(module: ModuleType, by: float) -> None:
    for name, value in vars(module).items():
        if name.endswith(WAITS):
            setattr(module, name, _scaled(value, by))


def _scaled(wait: Any, by: float) -> Any:
    return tuple(each * by for each in wait) if isinstance(wait, tuple) else wait * by


def forget_the_newest_migration() -> None:
    older = find_migrations()[:-1]
    for module in [each for name, each in sys.modules.items() if name.startswith("service.")]:
        if hasattr(module, "find_migrations"):
            module.find_migrations = lambda: older  # type: ignore[attr-defined]


def poison(note: Path) -> None:
    put_video = R2Bucket.put_video

    async def deadly(self: R2Bucket, key: str, job_id: str, download: Download) -> StoredObject:
        if named_in(note) == job_id:
            os.kill(os.getpid(), signal.SIGKILL)
        return await put_video(self, key, job_id, download)

    R2Bucket.put_video = deadly  # type: ignore[method-assign]


def named_in(note: Path) -> str | None:
    return note.read_text("utf-8") if note.exists() else None


if __name__ == "__main__":
    sys.exit(main(os.environ))
