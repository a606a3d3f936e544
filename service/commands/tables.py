"""Tables and facts for people at a terminal: aligned, of bounded width, and never anything else.

What is shown may be anybody's words: whatever a terminal would obey is spelt out instead.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.commands.running import say

NARROWEST: Final = 80
WIDEST: Final = 200
_BREAKS: Final = frozenset({"\n", "\t"})


def say_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under their headings; `none` where there are none. The last column is cut to fit."""
    if not rows:
        say("none")
        return
    cells = [[plain(each) for each in row] for row in rows]
    widths = [
        max(len(heading), *(len(row[at]) for row in cells)) for at, heading in enumerate(headings)
    ]
    for row in [list(headings), *cells]:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        say(cut("  ".join(padded).rstrip()))


def say_facts(facts: Mapping[str, object]) -> None:
    """A name and its value on each line; what is not known is left out."""
    known = {name: value for name, value in facts.items() if value not in (None, [], {})}
    width = max((len(name) for name in known), default=0)
    for name, value in known.items():
        say(f"{name.ljust(width)}  {plain(value)}")


def plain(value: object) -> str:
    """One line that a terminal only shows."""
    return safe("" if value is None else str(value)).replace("\n", " ").replace("\t", " ")


def safe(text: str) -> str:
    """Text without what a terminal would act on: escapes, controls, and turns of direction."""
    return "".join(
        each if each.isprintable() or each in _BREAKS else each.encode("unicode_escape").decode()
        for each in text
    )


def cut(line: str) -> str:
    """A line that does not wrap; the end of what is longer is marked as missing."""
    width = columns()
    return line if len(line) <= width else f"{line[: width - 1]}…"


def columns() -> int:
    """How wide a line may be: a terminal's own width, within reason; a file takes the widest."""
    return min(max(shutil.get_terminal_size((WIDEST, 24)).columns, NARROWEST), WIDEST)


def moment(instant: str | None) -> str:
    """An instant of an answer, to the second, in UTC."""
    return "" if instant is None else instant[:19].replace("T", " ")


def say_steps(steps: Sequence[Mapping[str, Any]]) -> None:
    """When, what, and its details, which go on below where they do not fit on the line."""
    width = max((len(each["what"]) for each in steps), default=0)
    for each in steps:
        head = f"  {moment(each['at']) or 'time not known':<19}  {each['what'].ljust(width)}  "
        told = [f"{name}={plain(value)}" for name, value in each["details"].items()]
        for line in _lines(told, columns() - len(head)):
            say(f"{head}{line}".rstrip())
            head = " " * len(head)


def _lines(parts: Sequence[str], width: int) -> list[str]:
    """Parts beside each other as far as they fit; one that is too long has a line of its own."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}  {part}" if lines[-1] else part
        if lines[-1] and len(longer) > width:
            lines.append(part)
        else:
            lines[-1] = longer
    return lines
