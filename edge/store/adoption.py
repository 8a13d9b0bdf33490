"""Takes a table that the plant made into the store: where it is, with its rows, without a rebuild.

SQLite can't add a column that is NOT NULL or has an expression for its default. So the common
columns are added bare and filled, and a trigger fills them in rows that come later.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from edge import capture
from edge.sql_text import NOW, NOW_MS, UUID7, literal, quoted
from edge.store import schema
from edge.store.open import lenient
from shared.catalog import COMMON, Direction, Kind
from shared.errors import InvalidValue, SchemaMismatch
from shared.values import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.catalog import Catalog, Column, Table

PAGE_ROWS: Final = 2_000
#: Rows that are named for each rule; the others are counted.
NAMED_MAX: Final = 3


def state(connection: sqlite3.Connection, name: str) -> str:
    """Return whether a table is "adopted", "ours", "theirs" or "missing"."""
    row = connection.execute("SELECT adopted FROM _sync_table WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return "adopted" if row[0] else "ours"
    there = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (name,)
    ).fetchone()
    return "theirs" if there else "missing"


def take_in(
    connection: sqlite3.Connection, table: Table, catalog: Catalog, *, site: str,
    created_from: str | None,
) -> tuple[list[str], int]:  # fmt: skip
    """Make the table one that replicates; return the columns added and the rows queued.

    Inside a write transaction. Raises SchemaMismatch where the table can't be adopted.
    """
    _check_kind(connection, table)
    added = _add_columns(connection, table, site)
    _fill(connection, table, created_from)
    _add_keys(connection, table)
    connection.execute("INSERT INTO _sync_table (name, adopted) VALUES (?, 1)", (table.name,))
    form = schema.form(connection, table, catalog, site=site)
    connection.execute(capture.log_statement(table))
    queued = connection.execute(
        f"INSERT INTO {quoted(capture.log_name(table))} (op, id, mask, at_ms)"
        f" SELECT 'I', id, 0, {NOW_MS} FROM {quoted(table.name)} ORDER BY rowid"
    ).rowcount
    for text in capture.triggers(table, form).values():
        connection.execute(text)
    return added, queued


def _check_kind(connection: sqlite3.Connection, table: Table) -> None:
    """Refuse what can't be adopted, each with the way out."""
    name = table.name
    if table.direction is Direction.DOWN:
        message = (
            f"{name} comes from the centre by the catalogue; only what a site makes is adopted"
        )
        raise SchemaMismatch(message)
    (without_rowid,) = connection.execute(
        "SELECT wr FROM pragma_table_list WHERE name = ? AND schema = 'main'", (name,)
    ).fetchone()
    columns = _columns(connection, name)
    if without_rowid or "rowid" in columns:
        message = f"{name} has no rowid of SQLite's own; copy it into an ordinary table first"
        raise SchemaMismatch(message)
    if unseen := schema.unseen_keys(connection, name):
        message = (
            f"{name} has a unique index that can't be watched, {', '.join(unseen)}: it is on an"
            " expression, or compares otherwise than its column; make it anew without UNIQUE, or"
            " on a column that holds the expression's value, and adopt again"
        )
        raise SchemaMismatch(message)
    if "id" in columns:
        wrong = connection.execute(
            f"SELECT id FROM {quoted(name)} WHERE id IS NOT NULL AND (typeof(id) <> 'text'"
            " OR length(id) <> 36 OR id GLOB '*[^0-9a-f-]*') LIMIT 1"
        ).fetchone()
        if wrong:
            message = (
                f"{name}.id holds {wrong[0]!r}, which is no lower-case uuid: rename that column"
                f" (ALTER TABLE {name} RENAME COLUMN id TO number) and adopt again"
            )
            raise SchemaMismatch(message)


def _columns(connection: sqlite3.Connection, name: str) -> dict[str, str]:
    """Return the columns of a table, in lower case as SQLite compares them, with their types."""
    rows = connection.execute("SELECT name, type FROM pragma_table_xinfo(?)", (name,))
    return {column.lower(): type_ for column, type_ in rows}


def _add_columns(connection: sqlite3.Connection, table: Table, site: str) -> list[str]:
    there = _columns(connection, table.name)
    missing = [c for c in (*COMMON, *table.columns) if c.name not in there]
    for column in missing:
        text = f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(column.name)}"
        text += f" {schema.TYPES[column.type.kind]}"
        default = site if column.name == "site_id" else column.default
        if default is not None:
            text += f" NOT NULL DEFAULT {literal(default)}"
        connection.execute(text)
    return [column.name for column in missing]


def _fill(connection: sqlite3.Connection, table: Table, created_from: str | None) -> None:
    if created_from is not None and created_from.lower() not in _columns(connection, table.name):
        message = f"{table.name} has no column {created_from} to take created_at from"
        raise SchemaMismatch(message)
    created = NOW if created_from is None else f"coalesce({quoted(created_from)}, {NOW})"
    name = quoted(table.name)
    connection.execute(f"UPDATE {name} SET id = {UUID7} WHERE id IS NULL")
    connection.execute(f"UPDATE {name} SET created_at = {created} WHERE created_at IS NULL")


def _add_keys(connection: sqlite3.Connection, table: Table) -> None:
    """Make the indexes by which ids and natural keys are unique."""
    keys = (("id",), *(("site_id", *key) for key in table.natural_keys))
    there = set(schema.unique_keys(connection, table.name))
    for place, key in enumerate(keys):
        if key in there:
            continue
        listed = ", ".join(map(quoted, key))
        try:
            connection.execute(
                f"CREATE UNIQUE INDEX {quoted(f'_sync_{table.name}_key_{place}')}"
                f" ON {quoted(table.name)} ({listed})"
            )
        except sqlite3.IntegrityError as error:
            twice = connection.execute(
                f"SELECT {listed} FROM {quoted(table.name)} GROUP BY {listed}"
                " HAVING count(*) > 1 LIMIT 1"
            ).fetchone()
            message = f"{table.name} has {twice!r} twice, but {', '.join(key)} is a key; mend it"
            raise SchemaMismatch(message) from error


# --- what the catalogue thinks of the rows ----------------------------------------------------


def problems(connection: sqlite3.Connection, table: Table, site: str) -> list[str]:
    """Return in words what rows break; they travel all the same, and the centre parks them."""
    counts: Counter[tuple[str, str]] = Counter()
    named: dict[tuple[str, str], list[str]] = {}
    with lenient(connection):
        for row_id, column, rule in _broken(connection, table, site):
            counts[column, rule] += 1
            if counts[column, rule] <= NAMED_MAX:
                named.setdefault((column, rule), []).append(str(row_id))
    return [
        f"{table.name}.{column}: {rule} ({count} rows: {', '.join(named[column, rule])}"
        + (", …)" if count > NAMED_MAX else ")")
        for (column, rule), count in counts.items()
    ]


def _broken(
    connection: sqlite3.Connection, table: Table, site: str
) -> Iterator[tuple[Any, str, str]]:
    columns = (*COMMON[1:], *table.columns)
    listed = ", ".join(quoted(column.name) for column in columns)
    rows = connection.execute(f"SELECT id, {listed} FROM {quoted(table.name)}")
    while page := rows.fetchmany(PAGE_ROWS):
        ids, sites, *rest = zip(*page, strict=True)
        for row_id, owner in zip(ids, sites, strict=True):
            if owner != site:
                yield row_id, "site_id", f"rows of {owner} are not this site's"
        for column, values in zip(columns[1:], rest, strict=True):
            for place, value in enumerate(values):
                if (rule := _rule_broken(column, value)) is not None:
                    yield ids[place], column.name, rule


def _rule_broken(column: Column, value: Any) -> str | None:
    """Return the rule that a value breaks in any form; one that can be put right breaks none."""
    if value is None:
        return None if column.nullable else "a value is required"
    if column.allowed and column.type.kind is Kind.TEXT and value not in column.allowed:
        return f"one of {', '.join(column.allowed)} is expected"
    try:
        canonical(column.type, value)
    except InvalidValue as error:
        return str(error)
    return None


# --- a first draft of a declaration -------------------------------------------------------------

#: Words in a declared type, and the type that a catalogue would say.
_DECLARED: Final = (
    ("BOOL", "boolean"),
    ("INT", "integer"),
    ("DATETIME", "timestamp"),
    ("TIMESTAMP", "timestamp"),
    ("DATE", "date"),
    ("TIME", "time"),
    ("DEC", "decimal(18,6)"),
    ("NUM", "decimal(18,6)"),
    ("REAL", "float"),
    ("FLOA", "float"),
    ("DOUB", "float"),
    ("BLOB", "bytes"),
    ("JSON", "json"),
)


def draft(connection: sqlite3.Connection, name: str) -> str:
    """Return a catalogue file that declares a table as it stands, for a person to complete."""
    common = {column.name for column in COMMON}
    lines = [
        "version = 1",
        "",
        f"[tables.{name.lower()}]",
        'direction = "both"',
        "columns = [",
    ]
    for column, declared in _columns(connection, name).items():
        if column not in common:
            type_ = next((t for word, t in _DECLARED if word in declared.upper()), "text")
            lines.append(f'  {{ name = "{column}", type = "{type_}", policy = "last_write" }},')
    return "\n".join([*lines, "]", ""])
