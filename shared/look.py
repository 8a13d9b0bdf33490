"""How the commands look: lines, tables, colours that a pipe does not get.

Plain ASCII but for what a plant wrote itself, so that any terminal shows it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

#: Every line fits into this many columns, but for values that a person wrote.
COLUMNS: Final = 100
_WIDTH_MIN: Final = 8
_UNITS_S: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_COLOURS: Final = {"ok": "green", "degraded": "yellow", "critical": "red"}

as_json = click.option(
    "--json", "json_wanted", is_flag=True, help="One JSON document, for programs."
)


def say(line: str = "") -> None:
    """Print a line."""
    click.echo(line)


def painted(word: str, level: str) -> str:
    """Return the word in the colour of its level."""
    return click.style(word, fg=_COLOURS[level], bold=level != "ok")


def table(
    titles: Sequence[str], rows: Sequence[Sequence[Any]], *,
    shrink: Collection[str] = (), right: Collection[str] = (),
) -> list[str]:  # fmt: skip
    """Return lines of aligned columns under their titles; None is shown as ``-``.

    Where a line gets too long, the columns of the titles in ``shrink`` give way, the widest first.
    Those in ``right`` stand at the right end of their columns, as numbers do.
    """
    cells = [list(titles), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(click.unstyle(row[at])) for row in cells) for at in range(len(titles))]
    yielding = [at for at, title in enumerate(titles) if title in shrink]
    while sum(widths) + 2 * (len(widths) - 1) > COLUMNS:
        widest = max(yielding, key=widths.__getitem__, default=0)
        if not yielding or widths[widest] <= _WIDTH_MIN:
            break
        widths[widest] -= 1
    pushed = [title in right for title in titles]
    return [_line(row, widths, pushed) for row in cells]


def _line(row: Sequence[str], widths: Sequence[int], pushed: Sequence[bool]) -> str:
    padded = []
    for cell, width, is_pushed in zip(row, widths, pushed, strict=True):
        gap = " " * (width - len(click.unstyle(cell)))
        shown = cell if len(click.unstyle(cell)) <= width else short(cell, width)
        padded.append(gap + shown if is_pushed else shown + gap)
    return "  ".join(padded).rstrip()


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value)
    return "-" if value is None or value == "" else str(value)


def number(value: int) -> str:
    """Return a number in groups of three."""
    return f"{value:,}".replace(",", " ")


def short(text: object, width: int) -> str:
    """Return the text on one line, cut to a width."""
    plain = " ".join(str(text).split())
    return plain if len(plain) <= width else f"{plain[: width - 3]}..."


def counted(count: int, one: str, many: str) -> str:
    """Return a number of things in words."""
    return f"{number(count)} {one if count == 1 else many}"


def lasting(seconds: int) -> str:
    """Return a span of time in its two largest units: ``12 s``, ``3 min 10 s``, ``2 h 46 min``."""
    for (unit, length), (small, part) in pairwise(_UNITS_S):
        if seconds >= length:
            whole, rest = divmod(seconds, length)
            return f"{whole} {unit}" + (f" {rest // part} {small}" if rest // part else "")
    return f"{seconds} s"


def size(count: int) -> str:
    """Return a number of bytes."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
