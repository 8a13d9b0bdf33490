"""How the commands look: ``shared.look``, sentences over lines, instants, JSON for programs."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from central.documents import to_json
from shared.look import COLUMNS, as_json, number, painted, say, short, table

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "COLUMNS", "as_json", "local", "number", "painted", "say", "say_json", "short", "table",
    "wrapped",
]  # fmt: skip


def say_json(document: object, *, indent: int | None = 2) -> None:
    """Print a document."""
    click.echo(to_json(document, indent=indent))


def wrapped(text: str, indent: int) -> list[str]:
    """Return lines of a sentence that begins with its own indent; the others have the one given."""
    lines = textwrap.wrap(text, COLUMNS, subsequent_indent=" " * indent, break_on_hyphens=False)
    return lines or [text]


def local(at: datetime | None) -> str:
    """Return an instant in the time zone of whoever looks, with the zone's name."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}" if at else "-"
