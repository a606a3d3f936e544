"""B6: how fast a finalisation copies, beside what one would use from a shell."""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tests.bench.effort import Effort
from tests.bench.pairs import Way, in_turns, paired
from tests.bench.results import Result, Series, ratio_of
from tests.bench.tools import (
    CURL_AND_AWS,
    RCLONE_COPYURL,
    Ours,
    Tool,
    Used,
    ours,
    present,
    rate,
)
from tests.bench.videos import MB, Road, Roads, roads

OURS: Final = "finalisation"
# So many at once, of so many MB: a worker's all places busy with usual clips, and one huge file.
LOADS: Final = ((4, 50), (1, 1_000))
TARGETS: Final[Mapping[Tool, float]] = {CURL_AND_AWS: 2.5, RCLONE_COPYURL: 1.5}


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What is copied, from where to where. `used` gathers what it took each way."""

    count: int
    size: int
    roads: Roads
    road: Road
    used: dict[str, list[Used]] = field(default_factory=lambda: defaultdict(list))

    @property
    def name(self) -> str:
        videos = "videos at once" if self.count > 1 else "video"
        return f"{self.count} {videos} of {self.size / MB:,g} MB, {self.road.name}"

    def way(self, name: str, copier: Ours | Tool) -> Way:
        async def copy() -> float:
            used = await copier.copy(self.roads, self.road, self.size, self.count)
            self.used[name].append(used)
            return rate(used, self.size, self.count)

        return copy

    def processor(self) -> dict[str, float]:
        """Processor seconds per GB, which a busy machine changes less than time."""
        moved = self.size * self.count / MB / 1_000
        return {
            name: statistics.median(each.processor_s for each in found) / moved
            for name, found in self.used.items()
        }


async def measure(effort: Effort) -> list[Result]:
    tools, absent = present(*TARGETS)
    versions = {tool.name: await tool.told_version() for tool in tools}
    results = []
    sizes = [effort.sized(mb) * MB for _, mb in LOADS]
    async with roads(effort.folder, sizes) as ends:
        for road in (ends.plain, ends.tls):
            async with ours(road) as worker:
                for (count, _), size in zip(LOADS, sizes, strict=True):
                    load = Load(count=count, size=size, roads=ends, road=road)
                    results += await _compared(load, worker, tools, effort.pairs)
    details = {"versions": versions}
    return [
        replace(
            each,
            notes="; ".join(filter(None, (each.notes, absent))),
            details={**each.details, **details},
        )
        for each in results
    ]


async def _compared(load: Load, worker: Ours, tools: list[Tool], pairs: int) -> list[Result]:
    """A row for each tool, or the service's own figure where there is none."""
    ways = {OURS: load.way(OURS, worker)}
    ways |= {tool.name: load.way(tool.name, tool) for tool in tools}
    found = await in_turns(ways, pairs=pairs)
    processor = load.processor()
    details: dict[str, Any] = {"processor seconds per GB": processor}
    if not tools:
        return [_alone(load, found[OURS], details)]
    return [
        replace(
            ratio_of(
                "B6",
                f"finalise throughput, {load.name}",
                paired(found, OURS, tool.name),
                names=(OURS, tool.name),
                unit="MB/s",
                want=">=",
                target=TARGETS[tool],
                notes=f"processor seconds per GB: {processor[OURS]:.1f}, "
                f"beside it {processor[tool.name]:.1f}",
            ),
            details=details,
        )
        for tool in tools
    ]


def _alone(load: Load, values: list[float], details: dict[str, Any]) -> Result:
    """Nothing to be held against, so nothing to miss."""
    series = Series(name=OURS, values=tuple(values), unit="MB/s")
    return Result(
        bench="B6",
        what=f"finalise throughput, {load.name}",
        ours=series,
        beside=None,
        value=series.median,
        want=">=",
        target=0,
        details=details,
    )
