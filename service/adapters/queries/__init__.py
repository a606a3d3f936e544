"""Every query of the service, by name, from the .surql files beside this: a part of the store each.

A query starts at its name line; the comment below says what it changes and what a repeat does.
Each is ONE statement or ONE block, so the engine runs it as one transaction and the first error
is the one we see. Record ids and instants are parameters or made there; durations arrive as text
such as '90s'. Every write carries its state guard. A write that the database's permissions deny
does not fail, it finds no row: so what must be written throws 'not_permitted: …' when it is not,
and nothing is. Written for 3.0.2 to 3.2.4: a LET of a path into another LET's value reads as NONE
inside a CREATE on 3.0.2, so such paths are spelled out where they are used.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"^-- ([a-z_]+) --$", re.MULTILINE)


@cache
def load_queries() -> Mapping[str, str]:
    """Query texts by name, without their comments."""
    files = sorted(Path(__file__).parent.glob("*.surql"))
    return parse_queries("\n".join(each.read_text("utf-8") for each in files))


def parse_queries(text: str) -> Mapping[str, str]:
    """Split query files at their name lines. Raises ValueError for a name that stands twice."""
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"a query name stands twice among {sorted(names)}")
    return {name: _statement(body) for name, body in zip(names, bodies, strict=True)}


def _statement(body: str) -> str:
    lines = (line for line in body.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip()
