"""B7: by how much a process grows for each finalisation it has under way, whatever the size.

A worker that has copied something small before is asked for four videos at once, and its growth
divided by four. A tool has a process, or two, for each video: all of it is growth. The sink here
is a fast one: before a slow one a transfer holds as many parts as it may (`parts_at_once`).
"""

import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tests.bench.effort import Effort
from tests.bench.pairs import Way, in_turns
from tests.bench.results import Result, Series, figure
from tests.bench.tools import CURL_AND_AWS, MIB, RCLONE_COPYURL, Tool, ours, present
from tests.bench.videos import MB, Roads, roads

OURS: Final = "finalisation"
ALONE: Final = "one finalisation alone"
AT_ONCE: Final = 4  # the worker's places
SIZES_MB: Final = (5, 50, 1_000)
WARM_UP: Final = 100_000  # bytes: the first transfer of a process loads what all need
MOST_MIB: Final = 16.0

Found = Mapping[str, list[float]]


async def measure(effort: Effort) -> list[Result]:
    tools, absent = present(CURL_AND_AWS, RCLONE_COPYURL)
    sizes = sorted({effort.sized(mb) for mb in SIZES_MB})
    async with roads(effort.folder, [WARM_UP, *(mb * MB for mb in sizes)]) as ends:
        ways: dict[str, Way] = {ALONE: _ours(ends, sizes[-1] * MB, 1)}
        for mb in sizes:
            ways[_named(OURS, mb)] = _ours(ends, mb * MB, AT_ONCE)
            ways |= {_named(tool.name, mb): _tool(tool, ends, mb * MB) for tool in tools}
        found = await in_turns(ways, pairs=effort.pairs)
    versions = {tool.name: await tool.told_version() for tool in tools}
    alone = Series(name=ALONE, values=tuple(found[ALONE]), unit="MiB")
    least = statistics.median(found[_named(OURS, sizes[0])])
    rows = [_row(mb, found, tools) for mb in sizes]
    return [
        replace(
            row,
            notes="; ".join(filter(None, (*_flatness(mb, row, least, sizes, alone), absent))),
            details={**row.details, "versions": versions, ALONE: alone.values},
        )
        for mb, row in zip(sizes, rows, strict=True)
    ]


def _named(way: str, mb: int) -> str:
    return f"{way}, {mb:,} MB"


def _ours(ends: Roads, size: int, count: int) -> Way:
    async def grown() -> float:
        """In a new process each time: what was grown before would be used again."""
        async with ours(ends.tls) as worker:
            await worker.copy(ends, ends.tls, WARM_UP)
            used = await worker.copy(ends, ends.tls, size, count)
        return used.peak_kib / MIB / count

    return grown


def _tool(tool: Tool, ends: Roads, size: int) -> Way:
    async def grown() -> float:
        return (await tool.copy(ends, ends.tls, size, peak=True)).peak_kib / MIB

    return grown


def _row(mb: int, found: Found, tools: list[Tool]) -> Result:
    mine, *beside = (
        Series(name=way, values=tuple(found[_named(way, mb)]), unit="MiB")
        for way in (OURS, *(tool.name for tool in tools))
    )
    return Result(
        bench="B7",
        what=f"peak growth for each of {AT_ONCE} finalised at once, {mb:,} MB",
        ours=mine,
        beside=beside[0] if beside else None,
        value=mine.median,
        want="<=",
        target=MOST_MIB,
        notes="; ".join(f"{each.name}: {each}" for each in beside[1:]),
        details={each.name: each.values for each in beside},
    )


def _flatness(mb: int, row: Result, least: float, sizes: list[int], alone: Series) -> list[str]:
    """What is said of a row, seen beside the others."""
    if mb == sizes[0]:
        return [row.notes]
    grown = f"{figure(row.value / least)} times the growth at {sizes[0]} MB"
    return [grown, f"alone: {alone}" if mb == sizes[-1] else "", row.notes]
