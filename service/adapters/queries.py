"""Loads queries.surql: named queries, each one statement or one block."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"^-- ([a-z_]+) --$", re.MULTILINE)


@cache
def load_queries() -> Mapping[str, str]:
    """Query texts by name, without their comments."""
    return parse_queries(Path(__file__).with_name("queries.surql").read_text("utf-8"))


def parse_queries(text: str) -> Mapping[str, str]:
    """Split a query file at its name lines. Raises ValueError for a name that stands twice."""
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"a query name stands twice among {sorted(names)}")
    return {name: _statement(body) for name, body in zip(names, bodies, strict=True)}


def _statement(body: str) -> str:
    lines = (line for line in body.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip()
