"""Watches whether our triggers still fit the tables: a plant may index them, a tool may lose one.

A unique index of the plant's is one more way for a REPLACE to displace rows, which the triggers
have to log. Between its making and the next drain, milliseconds with an agent, they don't.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.store import position, schema

if TYPE_CHECKING:
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
    forms = schema.forms(connection, opened.catalog, opened.site)
    wanted = schema.wanted_triggers(opened.catalog, forms)
    if schema.found_triggers(connection) != wanted:
        schema.put_triggers(connection, wanted)
        return
    opened.seen.version = version
    tell(opened, unwatched(opened), now_ms)


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
