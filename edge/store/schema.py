"""Builds a store's tables and triggers from the catalogue.

sqlite-utils makes the columns, keys and defaults. It has no public way to write CHECK constraints,
deferred foreign keys or AUTOINCREMENT, so those texts come from ``edge.capture`` and are put into
its statement.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from edge import capture
from shared.catalog import Catalog, Kind, Table, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TYPES: Final = {
    **dict.fromkeys(Kind, "TEXT"),
    Kind.INTEGER: "INTEGER",
    Kind.BOOLEAN: "INTEGER",
    Kind.FLOAT: "REAL",
    Kind.BYTES: "BLOB",
}


def bring_to(
    connection: sqlite3.Connection, catalog: Catalog, *, site: str, now_ms: int
) -> Mapping[str, int]:
    """Bring the business tables to the catalogue, all of them or none; return their numbers."""
    digests = connection.execute(
        "SELECT digest FROM _sync_catalogue ORDER BY applied_at_ms DESC, rowid DESC LIMIT 1"
    ).fetchone()
    if digests and digests[0] == catalog.digest:
        return numbers(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for table in catalog.parents_first():
            create(connection, table, site=site)
        connection.execute(
            "INSERT INTO _sync_catalogue VALUES (?, ?, ?, ?)",
            (catalog.version, catalog.digest, to_json(catalog), now_ms),
        )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return numbers(connection)


def numbers(connection: sqlite3.Connection) -> Mapping[str, int]:
    """Return the number of each table that the store ever had."""
    return dict(connection.execute("SELECT name, no FROM _sync_table"))


def create(connection: sqlite3.Connection, table: Table, *, site: str) -> None:
    """Create a business table with its log and triggers."""
    for statement in (create_statement(table, site=site), *capture.statements(table, site=site)):
        connection.execute(statement)
    connection.execute("INSERT OR IGNORE INTO _sync_table (name) VALUES (?)", (table.name,))


def create_statement(table: Table, *, site: str) -> str:
    """Return the CREATE TABLE statement of a business table."""
    from sqlite_utils import Database  # noqa: PLC0415  (0.2 s and 10 MB, only when tables change)

    journal = {capture.JOURNAL: "INTEGER"} if table.fact else {}
    columns = {column.name: _TYPES[column.type.kind] for column in capture.all_columns(table)}
    text = Database(memory=True).create_table_sql(
        table.name,
        journal | columns,
        pk=capture.JOURNAL if table.fact else "id",
        not_null=[column.name for column in capture.all_columns(table) if not column.nullable],
        defaults=capture.defaults(table, site=site),
        strict=True,
    )
    head, end, _ = text.rpartition("\n) STRICT;")
    assert end, f"sqlite-utils writes STRICT tables in another way: {text}"
    if table.fact:
        # No rowid may come twice, not even after the highest was deleted: it is the journal.
        head = head.replace("PRIMARY KEY", "PRIMARY KEY AUTOINCREMENT", 1)
    return ",\n".join((head, *(f"   {each}" for each in capture.constraints(table)))) + "\n) STRICT"


def statements(text: str) -> Iterator[str]:
    """Yield the statements of a migration file one by one, so that they run in one transaction."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
