"""What programs are given to read: JSON and CSV, the same from the commands and from the API."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: A text that begins with one of these a spreadsheet takes for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def to_json(document: object, *, indent: int | None = None) -> str:
    """Return a document as text; instants in UTC with milliseconds."""
    return json.dumps(document, ensure_ascii=False, indent=indent, default=plain)


def plain(value: object) -> object:
    """Return what is no value of JSON as one: instants, bytes, and all others as text."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def cell(value: object) -> object:
    """Return a value for a cell of CSV; text that a spreadsheet would compute is marked as text."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isinstance(value, int | float) else plain(value)


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV, with a line of names before them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([cell(row[name]) for name in columns] for row in rows)
    return text.getvalue()
