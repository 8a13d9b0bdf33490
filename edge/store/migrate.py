"""Brings a store's business tables from one catalogue to a later one.

All in one transaction, and without traffic: what programs committed is drained first, under the
catalogue that it was written under; then tables change while the triggers are gone, so nothing of
it is captured.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from json import dumps, loads
from typing import TYPE_CHECKING

import msgpack

from edge import capture
from edge.sql_text import quoted
from edge.store import adoption, schema, watch
from edge.store.drain import drain_within
from edge.store.materialise import materialise_within
from edge.store.open import Opened, Seen, connect_to_read, current_catalog, writing
from edge.store.rollbacks import Hindered
from shared.catalog import to_json
from shared.catalog_steps import AddColumn, AddTable, RenameColumn, WidenType, differences
from shared.errors import SchemaMismatch

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from shared.catalog import Catalog, Column, Table
    from shared.catalog_steps import Change


def bring_to(
    path: Path, connection: sqlite3.Connection, catalog: Catalog, *, now_ms: int, chance: Random
) -> Opened:
    """Return the open store with its business tables as the catalogue says.

    Raises CatalogError where that would lose something, SchemaMismatch where a table of that name
    is there already and not adopted. Nothing is changed then.
    """
    old = current_catalog(connection)
    if old is not None and old.digest == catalog.digest:
        return _opened_again(path, connection, catalog, now_ms=now_ms, chance=chance)
    change = partial(_change, path, connection, catalog, now_ms=now_ms, chance=chance)
    try:
        return change(fill=True)
    except Hindered:  # what was kept waits for the store's opening, which goes past such a rule
        return change(fill=False)


def _change(
    path: Path, connection: sqlite3.Connection, catalog: Catalog, *, fill: bool, now_ms: int,
    chance: Random,
) -> Opened:  # fmt: skip
    """Migrate in one transaction; ``fill`` what is new with what was kept for it."""
    old = current_catalog(connection)
    with writing(connection):
        if old is not None:
            before = describe(path, connection, old, chance=chance)
            drain_within(before, now_ms)
            before.reading.close()
        _migrate(connection, old, catalog)
        opened = describe(path, connection, catalog, chance=chance)
        schema.put_indexes(connection, catalog, opened.forms)
        schema.put_triggers(connection, schema.wanted_triggers(catalog, opened.forms))
        opened.seen.version = schema.version(connection)
        if fill:
            _fill(opened, now_ms)
        # OR REPLACE: a catalogue that is taken up again is the latest again.
        connection.execute(
            "INSERT OR REPLACE INTO _sync_catalogue VALUES (?, ?, ?, ?)",
            (catalog.version, catalog.digest, to_json(catalog), now_ms),
        )
    return opened


def _fill(opened: Opened, now_ms: int) -> None:
    try:
        materialise_within(opened, now_ms)
    except BaseException:
        opened.reading.close()
        raise


def _opened_again(
    path: Path, connection: sqlite3.Connection, catalog: Catalog, *, now_ms: int, chance: Random
) -> Opened:
    """Return a store that stands at the catalogue, with its triggers as they should be."""
    version = schema.version(connection)  # before all else: what changes later is seen later
    opened = describe(path, connection, catalog, chance=chance)
    wanted = schema.wanted_triggers(catalog, opened.forms)
    if schema.found_triggers(connection) != wanted:  # an index of the plant's, a lost trigger
        with writing(connection):
            watch.put_right(opened, now_ms)
        return opened
    opened.seen.version = version
    if unwatched := watch.unwatched(opened):
        with writing(connection):
            watch.tell(opened, unwatched, now_ms)
    return opened


def describe(
    path: Path, connection: sqlite3.Connection, catalog: Catalog, *, chance: Random
) -> Opened:
    """Return what the store is built from, as it stands."""
    (site,) = connection.execute("SELECT site FROM _sync_site").fetchone()
    forms = schema.forms(connection, catalog, site)
    return Opened(
        path,
        connection,
        connect_to_read(path),
        catalog,
        site,
        numbers=schema.numbers(connection),
        forms=forms,
        look=schema.look_statement(catalog, forms),
        chance=chance,
        seen=Seen(),
    )


def _migrate(connection: sqlite3.Connection, old: Catalog | None, new: Catalog) -> None:
    """Change the tables; their triggers are gone until the end of it."""
    schema.put_triggers(connection, {})
    changes = (
        [AddTable(table) for table in new.parents_first()] if old is None else differences(old, new)
    )
    (site,) = connection.execute("SELECT site FROM _sync_site").fetchone()
    for change in changes:
        try:
            _apply(connection, change, new, site)
        except sqlite3.OperationalError as error:  # a view of the plant's that is in the way, say
            table = change.table.name if isinstance(change, AddTable) else change.table
            message = f"table {table} can't be migrated ({type(change).__name__}): {error}"
            raise SchemaMismatch(message) from error
    changed = {change.table for change in changes if not isinstance(change, AddTable)}
    for name in changed:
        _renew_log(connection, new.table(name))


def _apply(connection: sqlite3.Connection, change: Change, new: Catalog, site: str) -> None:
    match change:
        case AddTable(table):
            _add_table(connection, table, new, site)
        case AddColumn(name, column):
            connection.execute(schema.column_statement(new.table(name), column))
        case RenameColumn(name, before, after):
            connection.execute(
                f"ALTER TABLE {quoted(name)} RENAME COLUMN {quoted(before)} TO {quoted(after)}"
            )
            _rename_kept(connection, name, before, after)
        case WidenType(name, before, after):
            _widen(connection, new.table(name), before, after)


def _add_table(connection: sqlite3.Connection, table: Table, new: Catalog, site: str) -> None:
    if adoption.state(connection, table.name) == "adopted":
        # Its declaration may have changed since. Nothing was drained of it, so whatever its log
        # says comes to this: every row that stands is new.
        adoption.add_columns(connection, table, site)
        connection.execute(f"DROP TABLE {quoted(capture.log_name(table))}")
        adoption.queue_all(connection, table)
        return
    there = "SELECT 1 FROM sqlite_schema WHERE name = ? COLLATE NOCASE"
    if connection.execute(there, (table.name,)).fetchone():
        message = (
            f"the store has a table {table.name} of its own already;"
            f" `mes-edge adopt FILE --table {table.name}` takes it in, with its rows"
        )
        raise SchemaMismatch(message)
    schema.create(connection, table, capture.form_of(table, new, site=site))


def _rename_kept(connection: sqlite3.Connection, table: str, before: str, after: str) -> None:
    """Give a column its new name in the rows that are kept beside the table."""
    connection.execute("UPDATE _sync_aside SET key = NULL WHERE table_name = ?", (table,))
    own = "table_no = (SELECT no FROM _sync_table WHERE name = ?)"
    for kept, key, content, where in (
        ("_sync_shadow", "table_no, id", "head", own),
        ("_sync_pending", "table_no, id, n", "deltas", f"{own} AND deltas IS NOT NULL"),
        ("_sync_pending", "table_no, id, n", "steps", f"{own} AND steps IS NOT NULL"),
        ("_sync_aside", "table_name, id, code, loss", "content", "table_name = ?"),
    ):
        read, write = (msgpack.unpackb, msgpack.packb) if content == "head" else (loads, dumps)
        rows = connection.execute(f"SELECT {content}, {key} FROM {kept} WHERE {where}", (table,))
        marks = ", ".join("?" * len(key.split(",")))
        for packed, *names in rows.fetchall():
            row = read(packed)
            if before in row:
                row[after] = row.pop(before)
                connection.execute(
                    f"UPDATE {kept} SET {content} = ? WHERE ({key}) = ({marks})",
                    (write(row), *names),
                )


def _widen(connection: sqlite3.Connection, table: Table, before: Column, after: Column) -> None:
    """Change what the table itself says of a column; its limits are in the triggers only."""
    defaults = {after.name: capture.default(after)} if before.default != after.default else {}
    nullable = table.fact and before.nullable != after.nullable
    not_null = {after.name: not after.nullable} if nullable else {}
    if defaults or not_null:
        schema.rebuild(connection, table.name, defaults=defaults, not_null=not_null)


def _renew_log(connection: sqlite3.Connection, table: Table) -> None:
    """Make the log anew for the columns of now; it is empty, since all was drained."""
    log = capture.log_name(table)
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (log,)).fetchone():
        connection.execute(f"DROP TABLE {quoted(log)}")
        connection.execute(capture.log_statement(table))
