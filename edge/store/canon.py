"""Brings what programs wrote to its one form, in the row itself: 12.50 becomes 12.5.

Both ends then hold equal texts for equal values. A value that can't be read is left as it is: it
travels, and the centre parks it with its reason.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from edge.sql_text import quoted
from edge.store.fold import differs
from edge.store.open import silent
from shared.errors import InvalidValue
from shared.values import canonical, column_problems

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from edge.store.fold import Touched
    from shared.catalog import Column, Table
    from shared.changes import Value


def to_one_form(
    connection: sqlite3.Connection,
    table: Table,
    columns: Mapping[Column, list[Value]],
    keys: Sequence[Value],
    key: str,
) -> bool:
    """Replace values that are not in their canonical form, here and in the table.

    ``keys`` are the rows' values of the column ``key``. Returns whether anything was replaced.
    """
    replaced = False
    for column, values in columns.items():
        for place, _ in column_problems(column, values):
            try:
                form = canonical(column.type, values[place])
            except InvalidValue:
                continue
            given = (form, keys[place])
            if differs(form, values[place]) and _put(connection, table, column, given, key):
                values[place] = form
                replaced = True
    return replaced


def _put(
    connection: sqlite3.Connection,
    table: Table,
    column: Column,
    given: tuple[Value, Value],
    key: str,
) -> bool:
    with silent(connection):
        # OR IGNORE: should the form clash with another row's key, the value goes as it is.
        changed = connection.execute(
            f"UPDATE OR IGNORE {quoted(table.name)} SET {quoted(column.name)} = ?"
            f" WHERE {quoted(key)} = ?",
            given,
        )
    return bool(changed.rowcount)


def one_form_of_old(table: Table, touched: Touched) -> Touched:
    """Return what stood in an adopted row in canonical form.

    Its own columns may not hold that form (a decimal in a REAL column), so it is made at each read.
    """
    old = list(touched.old)
    for place, column in enumerate(table.columns):
        if touched.mask >> place & 1:
            with suppress(InvalidValue):
                old[place] = canonical(column.type, old[place])
    return touched._replace(old=old)
