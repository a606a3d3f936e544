"""The command line: `fal-video COMMAND`, or `python -m service COMMAND`.

Only the parser is imported here; a command's own parts are loaded when it runs, so that help
answers at once.
"""

import argparse
import gc
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

COMMANDS: Final = {
    "demo": "animate a real image end to end on this machine, with no account",
    "dev": "the same as a running server; real fal and R2 where their keys are set",
    "web": "the web process; on an embedded database it also runs the reconciler",
    "reconciler": "the sidecar that finds what should have moved",
    "migrate": "apply the database migrations that are pending",
    "doctor": "prove the configuration against the real services",
    "audit": "check the invariants of money, jobs and videos on live data",
    "overview": "how everything stands: states, what is parked, due or paused",
    "jobs": "list jobs, show one's receipt, redrive or give up what is parked",
    "inbox": "list fal's deliveries, show one, redrive what is parked",
    "credits": "grant or refund credits, show a balance",
    "accounts": "close an account and delete its videos",
    "templates": "load templates, list them",
    "pauses": "stop submitting or finalising by hand, and let it go on",
    "operations": "what operators had done lately",
    "sandbox": "only the stand-ins for fal and R2",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. 2 means that the command line or a setting is wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(given[0] if given else None)
    options = parser.parse_args(given)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _parser(command: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fal-video", description="Image-to-video generation on fal.ai."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        if name == command:
            module = _loaded(f"service.commands.{name}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


def _loaded(name: str) -> Any:
    """Import quickly, and let no collection of garbage look at all of that again and again.

    Without it each full collection of a web process stops every request for tens of milliseconds.
    """
    # httpx's own command line: rich, click and pygments, a tenth of a second of each start.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.enable()
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
