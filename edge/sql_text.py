"""Pieces of SQL text for SQLite: names, literals, the time, new ids."""

from __future__ import annotations

from typing import Final

#: Milliseconds since 1970. julianday is exact to 0.05 ms; SQLite 3.40 has no unixepoch('subsec').
NOW_MS: Final = "CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER)"
NOW: Final = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
#: A UUIDv7: 48 bits of milliseconds, 74 bits of chance.
UUID7: Final = (
    "printf('%08x-%04x-7%03x-%04x-%012x',"
    f" {NOW_MS} >> 16, {NOW_MS} & 65535,"
    " random() & 4095, 32768 | (random() & 16383), random() & 281474976710655)"
)


def quoted(name: str) -> str:
    """Return an identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'


def of_row(name: str) -> str:
    """Return a column of the row ``d``.

    By its name alone, SQLite takes a column that does not exist for a text in double quotes.
    """
    return f"d.{quoted(name)}"


def literal(value: object) -> str:
    """Return a value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"
