"""Strangers' bytes: some by Hypothesis every day, many more by a coverage-guided fuzzer in CI."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS
from tests.processes.running import ROOT

EVERY_DAY: Final = 30  # of each target, besides its seeds
LONGEST: Final = 2_000  # bytes
SLOWEST_S: Final = 10  # of one input


@st.composite
def edited(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with a few places overwritten, cut, doubled or filled with other bytes."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, len(data)))
        new = draw(st.sampled_from([b"", data[start:end] * 2, b"\0", b"\xff" * 4, b"9" * 5000]))
        data = data[:start] + (new or draw(st.binary(max_size=8))) + data[end:]
    return data


# Starlette leaves the file of a form's part that never ends to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_nearly_right_breaks_no_promise(name: str) -> None:
    """F29, F35: seeds, edits of them, and plain noise."""
    target, fed = TARGETS[name], 0

    @settings(
        max_examples=EVERY_DAY,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(edited(target.seeds), st.binary(max_size=200)))
    def feed(data: bytes) -> None:
        nonlocal fed
        fed += 1
        target.feed(data)

    for seed in target.seeds:
        target.feed(seed)
    feed()
    sys.stdout.write(f"{name}: {fed + len(target.seeds)} inputs\n")  # for -s
    assert fed >= EVERY_DAY // 2


@pytest.mark.thorough
def test_a_fuzzer_that_sees_what_it_covers_breaks_no_promise(tmp_path: Path) -> None:
    """F29, F35: a bounded number of runs; another seed each time would be another test."""
    options = ["-seed=1", f"-max_len={LONGEST}", f"-timeout={SLOWEST_S}"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "all", *options, f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ran = re.findall(r"target (\w+)\n(?:.*\n)*?Done (\d+) runs in (\d+) second", done.stderr)
    sys.stdout.write("".join(f"{name}: {runs} runs in {took} s\n" for name, runs, took in ran))
    assert [name for name, _, _ in ran] == list(TARGETS)
    assert all(int(runs) >= TARGETS[name].runs for name, runs, _ in ran)
