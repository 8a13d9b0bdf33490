"""Watches whether our triggers still fit the tables: a plant may index them, a tool may lose one.

A unique index of the plant's is one more way for a REPLACE to displace rows, which the triggers
have to log. Between its making and the next drain, milliseconds with an agent, they don't.

A tool that rebuilds a table (new table, copy, drop, rename) takes our triggers with it, and what is
written until we put them back is in no log. Nobody can tell which rows these are, so the table is
marked: until a comparison finds it the same at both ends, no head takes the place of another row
than its own without that row being kept aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import capture
from edge.store import position, schema

if TYPE_CHECKING:
    import sqlite3

    from edge.store.open import Opened


def is_as_seen(opened: Opened) -> bool:
    """Return whether the file's schema is the one at which the triggers were last looked at."""
    return schema.version(opened.connection) == opened.seen.version


def look_again(opened: Opened, now_ms: int) -> None:
    """Put the triggers right where the schema changed; inside a write transaction.

    What is changed here may be rolled back, so the schema counts as seen only once nothing is.
    """
    connection = opened.connection
    version = schema.version(connection)
    if version == opened.seen.version:
        return
    if put_right(opened, now_ms):
        return
    opened.seen.version = version
    tell(opened, unwatched(opened), now_ms)


def put_right(opened: Opened, now_ms: int) -> bool:
    """Make our triggers as they should be; return whether any was not. In a write transaction."""
    connection, catalog = opened.connection, opened.catalog
    forms = schema.forms(connection, catalog, opened.site)
    wanted, found = schema.wanted_triggers(catalog, forms), schema.found_triggers(connection)
    if found == wanted:
        return False
    for table in catalog.tables:
        ours = capture.triggers(table, forms[table.name])
        if not ours.keys() <= schema.triggers_on(connection, table.name):
            _note_lost(connection, table.name, now_ms)
    schema.put_triggers(connection, wanted)
    return True


def _note_lost(connection: sqlite3.Connection, table: str, now_ms: int) -> None:
    """Mark a table whose triggers were away: what was written meanwhile was not captured."""
    connection.execute(
        "UPDATE _sync_table SET uncaptured_ms = ?, losses = losses + 1 WHERE name = ?",
        (now_ms, table),
    )
    message = (
        f"{table}: our triggers were gone and are put back; what was written to it meanwhile was"
        " not captured, and is not sent: `mes-sync verify --repair` finds it"
    )
    position.note(connection, "MES-CAPTURE-LOST", message, now_ms)


def losses(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the tables that are marked, each with the number of the loss."""
    rows = connection.execute(
        "SELECT name, losses FROM _sync_table WHERE uncaptured_ms IS NOT NULL"
    )
    return dict(rows.fetchall())


def unwatched(opened: Opened) -> list[tuple[str, str]]:
    """Return the unique indexes that no trigger can watch, as (table, index)."""
    return [
        (table.name, index)
        for table in opened.catalog.tables
        for index in schema.unseen_keys(opened.connection, table.name)
    ]


def tell(opened: Opened, indexes: list[tuple[str, str]], now_ms: int) -> None:
    """Tell the operator of indexes that no trigger can watch."""
    for table, index in indexes:
        message = (
            f"{table}: rows displaced by a REPLACE through the unique index {index} are not sent;"
            " make it on plain columns, or without UNIQUE"
        )
        position.note(opened.connection, "MES-INDEX-UNWATCHED", message, now_ms)
