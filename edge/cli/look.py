"""How the commands look: tables, ages, colours that a pipe does not get, JSON for programs.

Plain ASCII but for what a plant wrote itself, so that any terminal shows it.
"""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Every line fits into this many columns, but for values that a person wrote.
COLUMNS: Final = 100
_COLOURS: Final = {"ok": "green", "degraded": "yellow", "critical": "red"}
_UNITS_S: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))

as_json = click.option(
    "--json", "json_wanted", is_flag=True, help="One JSON document, for programs."
)


def say(line: str = "") -> None:
    """Print a line."""
    click.echo(line)


def say_json(document: object, *, indent: int | None = 2) -> None:
    """Print a document."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=indent))


def painted(word: str, level: str) -> str:
    """Return the word in the colour of its level."""
    return click.style(word, fg=_COLOURS[level], bold=level != "ok")


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return lines of aligned columns under their titles; None is shown as ``-``."""
    cells = [list(titles), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(click.unstyle(row[at])) for row in cells) for at in range(len(titles))]
    return [_line(row, widths) for row in cells]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell + " " * (width - len(click.unstyle(cell)))
        for cell, width in zip(row, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value)
    return "-" if value is None or value == "" else str(value)


def number(value: int) -> str:
    """Return a number in groups of three."""
    return f"{value:,}".replace(",", " ")


def age(ms: int | None) -> str:
    """Return a span of time in its two largest units."""
    if ms is None:
        return "-"
    seconds = max(0, ms) // 1000
    if seconds < 10:
        return f"{max(0, ms) / 1000:.1f} s"
    for (unit, size), (small, part) in itertools.pairwise(_UNITS_S):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
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


def local(ms: int | None) -> str:
    """Return an instant in the time zone of whoever looks, with the zone's name."""
    if ms is None:
        return "-"
    return f"{datetime.fromtimestamp(ms / 1000).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def short(text: object, width: int) -> str:
    """Return the text on one line, cut to a width."""
    plain = " ".join(str(text).split())
    return plain if len(plain) <= width else f"{plain[: width - 3]}..."
