"""Measuring ways of doing the same in turns: A, B, A, B, …"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

Way = Callable[[], Awaitable[float]]

log = logging.getLogger("bench")


async def in_turns(ways: Mapping[str, Way], *, pairs: int) -> dict[str, list[float]]:
    """Each way's values, one from every round. A round before them warms up and is forgotten.

    Every second round goes the other way round, so that none is always first.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(pairs + 1):
        names = list(ways) if number % 2 else list(ways)[::-1]
        for name in names:
            value = await ways[name]()
            if number:
                found[name].append(value)
                log.info("  %d/%d %s: %.4g", number, pairs, name, value)
    return found


def paired(
    found: Mapping[str, Sequence[float]], ours: str, theirs: str
) -> list[tuple[float, float]]:
    return list(zip(found[ours], found[theirs], strict=True))
