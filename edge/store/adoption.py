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
from edge.store.canon import as_instant, instant_of
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
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE", (name,)
    ).fetchone()
    return "theirs" if there else "missing"


def take_in(
    connection: sqlite3.Connection, table: Table, catalog: Catalog, *, site: str,
    created_from: str | None = None, zone: str | None = None,
) -> tuple[list[str], int]:  # fmt: skip
    """Make the table one that replicates; return the columns added and the rows queued.

    Inside a write transaction. ``created_from`` is a column that tells when a row was made,
    ``zone`` the one of such times that name none. Raises SchemaMismatch where the table can't be
    adopted.
    """
    _check_kind(connection, table, site)
    created_zone = _check_created(connection, table, zone)
    added = add_columns(connection, table, site)
    _fill(connection, table, site)
    _date(connection, table, created_from, zone)
    _add_keys(connection, table)
    connection.execute(
        "INSERT INTO _sync_table (name, adopted, created_zone) VALUES (?, 1, ?)",
        (table.name, created_zone),
    )
    queued = queue_all(connection, table)
    form = schema.form(connection, table, catalog, site=site)
    for text in capture.triggers(table, form).values():
        connection.execute(text)
    return added, queued


def queue_all(connection: sqlite3.Connection, table: Table) -> int:
    """Make a table's log, with an insert of every row that stands; return how many."""
    connection.execute(capture.log_statement(table))
    return connection.execute(
        f"INSERT INTO {quoted(capture.log_name(table))} (op, id, mask, at_ms)"
        f" SELECT 'I', id, 0, {NOW_MS} FROM {quoted(table.name)} ORDER BY rowid"
    ).rowcount


def _check_kind(connection: sqlite3.Connection, table: Table, site: str) -> None:
    """Refuse what can't be adopted, each with the way out."""
    name = table.name
    if table.direction is Direction.DOWN:
        message = (
            f"{name} comes from the centre by the catalogue; only what a site makes is adopted"
        )
        raise SchemaMismatch(message)
    (without_rowid,) = connection.execute(
        "SELECT wr FROM pragma_table_list WHERE name = ? COLLATE NOCASE AND schema = 'main'",
        (name,),
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
        no_uuid = "typeof(id) <> 'text' OR length(id) <> 36 OR id GLOB '*[^0-9a-f-]*'"
        _check_meaning(connection, name, "id", "a lower-case uuid", (no_uuid, columns["id"]))
    if "site_id" in columns:
        other = f"CAST(site_id AS BLOB) <> CAST({literal(site)} AS BLOB)"
        what = f"this store's own site, {site}"
        _check_meaning(connection, name, "site_id", what, (other, columns["site_id"]))


def _check_meaning(
    connection: sqlite3.Connection, name: str, column: str, what: str, wrong: tuple[str, str]
) -> None:
    """Refuse a column that means something else in the plant's programs than it means here.

    ``wrong`` is the condition on rows that tells, and the column's type, which does where there
    are none.
    """
    condition, type_ = wrong
    found = connection.execute(
        f"SELECT quote({column}) FROM {quoted(name)}"
        f" WHERE {column} IS NOT NULL AND ({condition}) LIMIT 1"
    ).fetchone()
    holds = found[0] if found else "numbers" if "INT" in type_.upper() else None
    if holds is not None:
        message = (
            f"{name}.{column} holds {holds}, which is not {what}: rename that column in the table"
            f" and its programs (ALTER TABLE {name} RENAME COLUMN {column} TO own_{column})"
            " and adopt again"
        )
        raise SchemaMismatch(message)


def _columns(connection: sqlite3.Connection, name: str) -> dict[str, str]:
    """Return the columns of a table, in lower case as SQLite compares them, with their types."""
    rows = connection.execute("SELECT name, type FROM pragma_table_xinfo(?)", (name,))
    return {column.lower(): type_ for column, type_ in rows}


def add_columns(connection: sqlite3.Connection, table: Table, site: str) -> list[str]:
    """Add what a plant's table lacks of the common and the catalogue's columns; return the names.

    Bare, as far as the catalogue allows null: what it requires of new rows is in the triggers.
    """
    there = _columns(connection, table.name)
    missing = [c for c in (*COMMON, *table.columns) if c.name not in there]
    for column in missing:
        text = schema.column_statement(table, column)
        if column.name == "site_id":
            text += f" NOT NULL DEFAULT {literal(site)}"
        connection.execute(text)
    return [column.name for column in missing]


def _fill(connection: sqlite3.Connection, table: Table, site: str) -> None:
    name = quoted(table.name)
    connection.execute(f"UPDATE {name} SET id = {UUID7} WHERE id IS NULL")
    connection.execute(f"UPDATE {name} SET site_id = ? WHERE site_id IS NULL", (site,))


# --- when a row was made --------------------------------------------------------------------------


def _check_created(connection: sqlite3.Connection, table: Table, zone: str | None) -> str | None:
    """Return the zone of a created_at of the plant's own, "" where none is known.

    None where the table has no such column. Raises SchemaMismatch where rows can't be dated by it.
    """
    if "created_at" not in _columns(connection, table.name):
        return None
    read_as = zone or _zone_of_default(connection, table.name)
    way = (
        "rename that column in the table and its programs"
        f" (ALTER TABLE {table.name} RENAME COLUMN created_at TO made_at)"
    )
    _check_instants(connection, table.name, "created_at", read_as, way)
    return read_as


def _zone_of_default(connection: sqlite3.Connection, name: str) -> str:
    """Return the zone in which created_at is filled by its own default, "" where it has none.

    Raises SchemaMismatch where that is the zone of whatever machine wrote.
    """
    (default,) = connection.execute(
        "SELECT lower(coalesce(dflt_value, '')) FROM pragma_table_info(?)"
        " WHERE lower(name) = 'created_at'",
        (name,),
    ).fetchone()
    if "localtime" in default:
        message = f"{name}.created_at is filled in local time: name the plant's zone by --zone"
        raise SchemaMismatch(message)
    return "UTC" if "current_timestamp" in default or "'now'" in default else ""


def _check_instants(
    connection: sqlite3.Connection, name: str, column: str, zone: str, way: str
) -> None:
    """Refuse a column in which a value is no instant that can be read; ``way`` tells a way out."""
    with lenient(connection):
        values = connection.execute(
            f"SELECT DISTINCT {quoted(column)} FROM {quoted(name)}"
            f" WHERE {quoted(column)} IS NOT NULL"
        )
        for (value,) in values:
            try:
                instant_of(value, zone)
            except InvalidValue as error:
                if as_instant(value, "UTC") != value:
                    way = f"name the zone that such times are of by --zone, or {way}"
                message = f"{name}.{column} holds {value!r}: {error}; {way}, and adopt again"
                raise SchemaMismatch(message) from error


def _date(
    connection: sqlite3.Connection, table: Table, created_from: str | None, zone: str | None
) -> None:
    """Give every row that has none a created_at: from another column, or else now."""
    name, made = quoted(table.name), "NULL"
    if created_from is not None:
        if created_from.lower() not in _columns(connection, table.name):
            message = f"{table.name} has no column {created_from} to take created_at from"
            raise SchemaMismatch(message)
        way = "mend it, or name another column"
        _check_instants(connection, table.name, created_from, zone or "", way)
        connection.create_function(
            "_sync_instant", 1, lambda made: None if made is None else instant_of(made, zone or "")
        )
        made = f"_sync_instant({quoted(created_from)})"
    connection.execute(
        f"UPDATE {name} SET created_at = coalesce({made}, {NOW}) WHERE created_at IS NULL"
    )


# --- keys -----------------------------------------------------------------------------------------


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


def problems(connection: sqlite3.Connection, table: Table) -> list[str]:
    """Return in words what rows break; they travel all the same, and the centre parks them."""
    counts: Counter[tuple[str, str]] = Counter()
    named: dict[tuple[str, str], list[str]] = {}
    with lenient(connection):
        for row_id, column, rule in _broken(connection, table):
            counts[column, rule] += 1
            if counts[column, rule] <= NAMED_MAX:
                named.setdefault((column, rule), []).append(str(row_id))
    return [
        f"{table.name}.{column}: {rule} ({count} rows: {', '.join(named[column, rule])}"
        + (", …)" if count > NAMED_MAX else ")")
        for (column, rule), count in counts.items()
    ]


def _broken(connection: sqlite3.Connection, table: Table) -> Iterator[tuple[Any, str, str]]:
    listed = ", ".join(quoted(name) for name in table.names)
    rows = connection.execute(f"SELECT id, {listed} FROM {quoted(table.name)}")
    while page := rows.fetchmany(PAGE_ROWS):
        ids, *rest = zip(*page, strict=True)
        for column, values in zip(table.columns, rest, strict=True):
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
