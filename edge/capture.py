"""The texts that make a table capture its own changes: defaults, checks, logs and triggers.

Pure: takes the catalogue's tables, returns SQL. What it returns for two tables is under
``tests/golden``, so that a reviewer reads the SQL itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.catalog import COMMON, Column, Table

if TYPE_CHECKING:
    from shared.changes import Value

#: The column that orders the facts of a table as they were committed.
JOURNAL: Final = "_seq"

#: Milliseconds since 1970. julianday is exact to 0.05 ms; SQLite 3.40 has no unixepoch('subsec').
NOW_MS: Final = "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"
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


def literal(value: object) -> str:
    """Return a value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def all_columns(table: Table) -> tuple[Column, ...]:
    """Return the columns that programs see, the common ones first."""
    return (*COMMON, *table.columns)


def defaults(table: Table, *, site: str) -> dict[str, Value]:
    """Return the default of each column that has one: an expression, a literal, or a number."""
    given: dict[str, Value] = {
        column.name: literal(column.default) if isinstance(column.default, str) else column.default
        for column in table.columns
        if column.default is not None
    }
    return {"id": UUID7, "site_id": literal(site), "created_at": NOW} | given


def constraints(table: Table) -> list[str]:
    """Return the constraints of a table, in the order in which they are checked."""
    found = [] if not table.fact else ["UNIQUE (id)"]
    found += [f"UNIQUE (site_id, {', '.join(map(quoted, key))})" for key in table.natural_keys]
    return found


def statements(table: Table, *, site: str) -> list[str]:
    """Return the statements that make the log and the triggers of a table."""
    return []
