"""Builds a store's tables and triggers from the catalogue.

sqlite-utils makes the columns, keys and defaults, and rebuilds a table where SQLite can't alter it.
It has no public way to write UNIQUE constraints, so those are put into its statement; the triggers
are ours, from ``edge.capture``.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge import capture
from edge.sql_text import literal, quoted
from shared.catalog import COMMON, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.capture import Form
    from shared.catalog import Catalog, Column, Table

#: SQLite's type for each kind. A decimal is a text, never a binary float.
TYPES: Final = {
    **dict.fromkeys(Kind, "TEXT"),
    Kind.INTEGER: "INTEGER",
    Kind.BOOLEAN: "INTEGER",
    Kind.FLOAT: "REAL",
    Kind.BYTES: "BLOB",
}

#: The name of the constraint is all that SQLite says where it is broken. The guard can't tell a
#: journal number of -1 from none, and a fact below the mark would never be sent.
_JOURNAL_RULE: Final = f"{capture.JOURNAL} numbers the rows by itself: leave it out"


def version(connection: sqlite3.Connection) -> int:
    """Return the number that SQLite raises whenever a table, index or trigger changes."""
    (number,) = connection.execute("PRAGMA schema_version").fetchone()
    return int(number)


def numbers(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of each table that the store ever had."""
    return dict(connection.execute("SELECT name, no FROM _sync_table"))


def forms(connection: sqlite3.Connection, catalog: Catalog, site: str) -> dict[str, Form]:
    """Return how each table of the catalogue stands in the store."""
    return {table.name: form(connection, table, catalog, site=site) for table in catalog.tables}


def form(connection: sqlite3.Connection, table: Table, catalog: Catalog, *, site: str) -> Form:
    """Return how a table stands in the store, with the unique keys that it has there."""
    planned = capture.form_of(table, catalog, site=site)
    adopted, created_zone = connection.execute(
        "SELECT adopted, created_zone FROM _sync_table WHERE name = ?", (table.name,)
    ).fetchone() or (0, None)
    keys = dict.fromkeys((*planned.keys, *unique_keys(connection, table.name)))
    if adopted and not _names_row_number(connection, table.name):
        keys[(capture.ROW_NUMBER,)] = None
    return replace(planned, keys=tuple(keys), adopted=bool(adopted), created_zone=created_zone)


def _names_row_number(connection: sqlite3.Connection, table: str) -> bool:
    """Return whether SQLite's number of a row is the primary key, which then has no index."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE pk > 0)"
        " AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')"
    )
    return bool(connection.execute(query, (table,)).fetchone()[0])


def unseen_keys(connection: sqlite3.Connection, table: str) -> list[str]:
    """Return the unique indexes by which a REPLACE displaces rows that no trigger can find.

    They are on an expression, or compare a column in another way than the column itself does.
    """
    found = connection.execute(
        "SELECT i.name, c.name, c.coll FROM pragma_index_list(?) i, pragma_index_xinfo(i.name) c"
        " WHERE i.\"unique\" AND c.key AND (c.name IS NULL OR c.coll <> 'BINARY')",
        (table,),
    ).fetchall()
    if not found:
        return []
    own = _collations(connection, table)
    return list(dict.fromkeys(index for index, name, how in found if own.get(name) != how))


def _collations(connection: sqlite3.Connection, table: str) -> dict[str | None, str]:
    """Return how each column compares: SQLite tells it only of an index, so one is made aside."""
    statement, listed = connection.execute(
        "SELECT sql, (SELECT group_concat('\"' || replace(name, '\"', '\"\"') || '\"')"
        " FROM pragma_table_xinfo(?1)) FROM sqlite_schema WHERE type = 'table'"
        " AND name = ?1 COLLATE NOCASE",
        (table,),
    ).fetchone()
    with closing(sqlite3.connect(":memory:")) as aside:
        aside.execute(statement)
        aside.execute(f"CREATE INDEX compares ON {quoted(table)} ({listed})")
        query = "SELECT name, coll FROM pragma_index_xinfo('compares') WHERE key"
        return dict(aside.execute(query).fetchall())


def unique_keys(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str, ...]]:
    """Yield the columns of a table's unique keys but the id's, the plant's own included.

    An index on expressions names no columns, so it is left out: see ``unseen_keys``.
    """
    primary = connection.execute(
        "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,)
    )
    keys = [tuple(name for (name,) in primary)]
    for index in connection.execute(
        'SELECT name FROM pragma_index_list(?) WHERE "unique"', (table,)
    ).fetchall():
        rows = connection.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", index)
        keys.append(tuple(name for (name,) in rows))
    for key in dict.fromkeys(keys):
        if key not in ((), ("id",), (capture.JOURNAL,)) and None not in key:
            yield key


def look_statement(catalog: Catalog, forms: Mapping[str, Form]) -> str:
    """Return the query for the names of tables that hold changes which are not drained."""
    looks = []
    for table in catalog.tables:
        name = literal(table.name)
        if capture.has_log(table, forms[table.name]):
            log = quoted(capture.log_name(table))
            looks.append(f"SELECT {name} WHERE EXISTS (SELECT 1 FROM {log})")
        elif table.fact:
            # By the newest fact's id as well: numbers come again where the newest were deleted.
            newest = f"FROM {quoted(table.name)} ORDER BY {capture.JOURNAL} DESC LIMIT 1"
            looks.append(
                f"SELECT name FROM _sync_table WHERE name = {name}"
                f" AND ((SELECT id {newest}) IS NOT journal_id"
                f" OR coalesce((SELECT {capture.JOURNAL} {newest}), 0) <> journal_mark)"
            )
    return " UNION ALL ".join(looks) or "SELECT name FROM _sync_table WHERE 0"


def create(connection: sqlite3.Connection, table: Table, form: Form) -> None:
    """Create a business table with its log; its triggers come with ``put_triggers``."""
    connection.execute(create_statement(table, form))
    if capture.has_log(table, form):
        connection.execute(capture.log_statement(table))
    connection.execute("INSERT INTO _sync_table (name) VALUES (?)", (table.name,))


def column_statement(table: Table, column: Column) -> str:
    """Return the statement that adds a column, required by the table itself as in a new one."""
    text = f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(column.name)}"
    text += f" {TYPES[column.type.kind]}"
    if column.default is None:
        return text
    required = " NOT NULL" if table.fact and not column.nullable else ""
    return f"{text}{required} DEFAULT {literal(column.default)}"


def put_indexes(
    connection: sqlite3.Connection, catalog: Catalog, forms: Mapping[str, Form]
) -> None:
    """Make the indexes by which guards look up the signed rows that let a lattice go back."""
    for table in catalog.tables:
        column = forms[table.name].released_by
        if table.relax_by is not None and column is not None:
            connection.execute(
                f"CREATE INDEX IF NOT EXISTS {quoted(f'_sync_{table.relax_by}_{column}')}"
                f" ON {quoted(table.relax_by)} ({quoted(column)})"
            )


def create_statement(table: Table, form: Form) -> str:
    """Return the CREATE TABLE statement of a business table."""
    # 0.2 s and 10 MB, needed only when tables change.
    from sqlite_utils import Database  # noqa: PLC0415

    journal = {capture.JOURNAL: "INTEGER"} if table.fact else {}
    columns = {column.name: TYPES[column.type.kind] for column in capture.all_columns(table)}
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
    if table.fact:
        lines.append(f"   CONSTRAINT {quoted(_JOURNAL_RULE)} CHECK ({quoted(capture.JOURNAL)} > 0)")
    return ",\n".join((head, *lines)) + "\n) STRICT"


def _not_null(table: Table) -> list[str]:
    """Return the columns that the table itself keeps from being null.

    Those of a two-way table are guarded by triggers, so that a centre that has come to allow null
    can send one to a site that has not. Facts come from the site itself, and the constraint is
    free where the trigger's comparison is not.
    """
    required = [column.name for column in table.columns if not column.nullable]
    return [column.name for column in COMMON] + (required if table.fact else [])


def rebuild(
    connection: sqlite3.Connection,
    name: str,
    *,
    defaults: Mapping[str, object] | None = None,
    not_null: Mapping[str, bool] | None = None,
) -> None:
    """Make a table anew with other defaults or nullability, which SQLite can't alter.

    Its rows, indexes and the plant's triggers stay.
    """
    from sqlite_utils import Database  # noqa: PLC0415

    triggers = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?", (name,)
    ).fetchall()
    table = Database(connection, recursive_triggers=False).table(name)
    for statement in table.transform_sql(
        defaults=dict(defaults or {}), not_null=dict(not_null or {})
    ):
        connection.execute(statement)
    for (text,) in triggers:
        connection.execute(text)


def wanted_triggers(catalog: Catalog, forms: Mapping[str, Form]) -> dict[str, str]:
    """Return our triggers as they should be: name -> statement."""
    return {
        name: text
        for table in catalog.tables
        for name, text in capture.triggers(table, forms[table.name]).items()
    }


def found_triggers(connection: sqlite3.Connection) -> dict[str, str]:
    """Return our triggers as they are."""
    return dict(
        connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB '_sync_*'"
        )
    )


def triggers_on(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    """Return the names of the triggers that fire on a table, whoever made them.

    A trigger goes along with a table that is renamed, so that its name alone tells nothing.
    """
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE",
        (table,),
    )
    return frozenset(name for (name,) in rows)


def put_triggers(connection: sqlite3.Connection, wanted: Mapping[str, str]) -> None:
    """Make our triggers these; only those that are not so already are written."""
    found = found_triggers(connection)
    for name in found.keys() - wanted.keys():
        connection.execute(f"DROP TRIGGER {quoted(name)}")
    for name, text in wanted.items():
        if found.get(name) != text:
            connection.execute(f"DROP TRIGGER IF EXISTS {quoted(name)}")
            connection.execute(text)


def statements(text: str) -> Iterator[str]:
    """Yield the statements of a migration file one by one, so that they run in one transaction."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
