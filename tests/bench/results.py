"""What a measurement came to, and whether that is what was wanted."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Want = Literal[">=", "<="]


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One way of doing it, measured several times. `unit` is of each value."""

    name: str
    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        """The median, and in brackets the least and the most."""
        low, high = min(self.values), max(self.values)
        spread = f" ({figure(low)}-{figure(high)})" if low != high else ""
        return f"{figure(self.median)}{spread} {self.unit}".rstrip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A row of the report: ours, what it is held against, and the number that is wanted.

    `value` is what `wanted` speaks of: a ratio of medians, or a count.
    """

    bench: str
    what: str
    ours: Series
    beside: Series | None
    value: float
    want: Want
    target: float
    notes: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    revision: str = ""  # of the code that was measured, where it is known

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.want == ">=" else self.value <= self.target

    @property
    def wanted(self) -> str:
        return f"{'≥' if self.want == '>=' else '≤'} {figure(self.target)}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> "Result":
        fields = {name: value for name, value in told.items() if name != "met"}
        for name in ("ours", "beside"):
            if (series := fields[name]) is not None:
                fields[name] = Series(**{**series, "values": tuple(series["values"])})
        return cls(**fields)


def ratio_of(
    bench: str,
    what: str,
    pairs: Sequence[tuple[float, float]],
    *,
    names: tuple[str, str],
    unit: str,
    want: Want,
    target: float,
    notes: str = "",
) -> Result:
    """Ours over theirs, pair by pair: the median of the pairs' ratios.

    A machine that slows down slows both halves of a pair, so a pair's ratio is steadier than
    either of its halves.
    """
    ours, theirs = zip(*pairs, strict=True)
    return Result(
        bench=bench,
        what=what,
        ours=Series(name=names[0], values=ours, unit=unit),
        beside=Series(name=names[1], values=theirs, unit=unit),
        value=statistics.median(our / their for our, their in pairs),
        want=want,
        target=target,
        notes=notes,
    )


def count_of(
    bench: str, what: str, count: float, *, unit: str, want: Want, target: float, notes: str = ""
) -> Result:
    """A number that is counted and not timed."""
    ours = Series(name="ours", values=(count,), unit=unit)
    return Result(
        bench=bench,
        what=what,
        ours=ours,
        beside=None,
        value=count,
        want=want,
        target=target,
        notes=notes,
    )


def figure(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:  # three digits end before the point
        return f"{value:,.0f}"
    return f"{value:.3g}"
