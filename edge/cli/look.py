"""How the commands look: ``shared.look``, ages in milliseconds, JSON for programs."""

from __future__ import annotations

import json
from datetime import datetime

import click

from shared.look import COLUMNS, as_json, lasting, number, painted, say, short, size, table

__all__ = [
    "COLUMNS", "age", "as_json", "local", "number", "painted", "say", "say_json", "short", "size",
    "table",
]  # fmt: skip


def say_json(document: object, *, indent: int | None = 2) -> None:
    """Print a document."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=indent))


def age(ms: int | None) -> str:
    """Return a span of time in its two largest units."""
    if ms is None:
        return "-"
    seconds = max(0, ms) // 1000
    if seconds < 10:
        return f"{max(0, ms) / 1000:.1f} s"
    return lasting(seconds)


def local(ms: int | None) -> str:
    """Return an instant in the time zone of whoever looks, with the zone's name."""
    if ms is None:
        return "-"
    return f"{datetime.fromtimestamp(ms / 1000).astimezone():%Y-%m-%d %H:%M:%S %Z}"
