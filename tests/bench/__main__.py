"""`python -m tests.bench [B1 B3 …] [--quick] [--pairs N] [--out FOLDER]`: measure and report.

A report that is in the folder already keeps what is not measured anew.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench import effort, report
from tests.bench.effort import Effort
from tests.bench.results import Result

Bench = Callable[[Effort], Awaitable[list[Result]]]

# Each has a function `measure`.
MODULES: Final[Mapping[str, str]] = {
    "B1": "ack",
    "B2": "ack_latency",
    "B3": "status",
    "B4": "fal_calls",
    "B5": "visible",
    "B6": "finalise",
    "B7": "memory",
    "B8": "growth",
    "B9": "killed",
    "B10": "repeats",
    "B11": "flooded",
    "B12": "round_trips",
    "B13": "processes",
}
OUT: Final = Path(".bench")

log = logging.getLogger("bench")


def bench(name: str) -> Bench:
    measure: Bench = import_module(f"tests.bench.{MODULES[name]}").measure
    return measure


async def run(
    names: Sequence[str],
    *,
    quick: bool,
    pairs: int | None = None,
    keep: Callable[[list[Result]], None] = lambda _: None,
) -> list[Result]:
    """Every result, one bench after another: they would be in each other's way.

    `keep` gets a bench's results as soon as they are there: an hour's work is not lost at its end.
    """
    results: list[Result] = []
    revision = report.revision()
    for name in names:
        log.info("%s %s", name, MODULES[name])
        with TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            made = effort.quick(Path(folder)) if quick else effort.full(Path(folder))
            found = await bench(name)(replace(made, pairs=pairs or made.pairs))
        for each in found:
            verdict = "met" if each.met else "MISSED"
            log.info("  %s: %.3g, wanted %s: %s", each.what, each.value, each.wanted, verdict)
        results += [replace(each, revision=revision) for each in found]
        keep(results)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="B", help="which; all where none is named")
    parser.add_argument("--quick", action="store_true", help="see that it runs; no figures")
    parser.add_argument("--pairs", type=int, help=f"rounds; {effort.PAIRS} to be believed")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the report")
    asked = parser.parse_args(argv)
    unknown = [each for each in asked.names if each not in MODULES]
    if unknown:
        parser.error(f"there is no bench {', '.join(unknown)}; there are {', '.join(MODULES)}")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    out = asked.out / "quick" if asked.quick else asked.out  # it spoils nothing that was believed
    before = report.earlier(out)

    def whole(found: list[Result]) -> list[Result]:
        anew = {each.bench for each in found}
        kept = [each for each in before if each.bench not in anew]
        return sorted([*kept, *found], key=lambda each: list(MODULES).index(each.bench))

    results = asyncio.run(
        run(
            asked.names or list(MODULES),
            quick=asked.quick,
            pairs=asked.pairs,
            keep=lambda found: report.write(out, whole(found)),
        )
    )
    sys.stdout.write(report.markdown(whole(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
