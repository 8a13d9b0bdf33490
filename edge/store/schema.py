"""Builds a store's tables and triggers from the catalogue.

sqlite-utils makes the columns, keys and defaults. It has no public way to write CHECK constraints,
deferred foreign keys or AUTOINCREMENT, so those texts come from ``edge.capture`` and are put into
its statement.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from edge import capture
from edge.sql_text import quoted
from shared.catalog import COMMON, Catalog, Kind, Table, to_json

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
            create(connection, table, capture.form_of(table, catalog, site=site))
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


def create(connection: sqlite3.Connection, table: Table, form: capture.Form) -> None:
    """Create a business table with its log and triggers."""
    connection.execute(create_statement(table, form))
    if capture.has_log(table, form):
        connection.execute(capture.log_statement(table))
    for statement in capture.triggers(table, form).values():
        connection.execute(statement)
    connection.execute("INSERT INTO _sync_table (name) VALUES (?)", (table.name,))


def create_statement(table: Table, form: capture.Form) -> str:
    """Return the CREATE TABLE statement of a business table."""
    # 0.2 s and 10 MB, needed only when tables change.
    from sqlite_utils import Database  # noqa: PLC0415

    journal = {capture.JOURNAL: "INTEGER"} if table.fact else {}
    columns = {column.name: _TYPES[column.type.kind] for column in capture.all_columns(table)}
    text: str = Database(memory=True).create_table_sql(
        table.name,
        journal | columns,
        pk=capture.JOURNAL if table.fact else "id",
        not_null=_not_null(table),
        defaults=capture.defaults(table, site=form.site),
        strict=True,
    )
    head, end, _ = text.rpartition("\n) STRICT;")
    assert end, f"sqlite-utils writes STRICT tables in another way: {text}"
    unique = [("id",)] if table.fact else []
    lines = [f"   UNIQUE ({', '.join(map(quoted, key))})" for key in (*unique, *form.keys)]
    return ",\n".join((head, *lines)) + "\n) STRICT"


def _not_null(table: Table) -> list[str]:
    """Return the columns that the table itself keeps from being null.

    Those of a two-way table are guarded by triggers, so that a centre that has come to allow null
    can send one to a site that has not. Facts come from the site itself, and the constraint is
    free where the trigger's comparison is not.
    """
    required = [column.name for column in table.columns if not column.nullable]
    return [column.name for column in COMMON] + (required if table.fact else [])


def statements(text: str) -> Iterator[str]:
    """Yield the statements of a migration file one by one, so that they run in one transaction."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
