"""What programs are given to read: JSON, the same from the commands and from the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime


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
