"""How much is measured: enough to believe it, or just enough to see that the bench itself works."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """`pairs` rounds of `seconds` of load each; `scale` shrinks files, tables and crowds."""

    folder: Path
    pairs: int
    seconds: float
    scale: float

    def sized(self, full: int, least: int = 1) -> int:
        return max(least, round(full * self.scale))


PAIRS: Final = 7
SECONDS: Final = 3.0
QUICK_PAIRS: Final = 1
QUICK_SECONDS: Final = 0.5
QUICK_SCALE: Final = 0.02


def full(folder: Path) -> Effort:
    return Effort(folder=folder, pairs=PAIRS, seconds=SECONDS, scale=1.0)


def quick(folder: Path) -> Effort:
    """Shows that everything runs; its figures mean nothing."""
    return Effort(folder=folder, pairs=QUICK_PAIRS, seconds=QUICK_SECONDS, scale=QUICK_SCALE)
