"""Coverage-guided fuzzing of the targets, each from its seeds.

`python -m tests.fuzz all [libFuzzer options]` feeds each as often as CI does;
`python -m tests.fuzz TARGET [options]` one, until something breaks: a hunt by hand.
"""

import os
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["service", "starlette.formparsers", "python_multipart"]):
    from tests.fuzz.targets import TARGETS


def main(name: str, *options: str) -> int:
    """The worst of the targets' exit codes; 0 if nothing broke."""
    names = list(TARGETS) if name == "all" else [name]
    bounded = name == "all"
    return max((_hunted(each, options, bounded=bounded) for each in names), key=abs)


def _hunted(name: str, options: tuple[str, ...], *, bounded: bool) -> int:
    """libFuzzer ends its process, so it has one; what took seconds to load is there already."""
    target = TARGETS[name]
    sys.stderr.write(f"target {name}\n")
    sys.stderr.flush()
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        runs = [f"-runs={target.runs}"] if bounded else []
        child = os.fork()
        if not child:
            atheris.Setup([sys.argv[0], *runs, *options, folder], target.feed)
            atheris.Fuzz()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
