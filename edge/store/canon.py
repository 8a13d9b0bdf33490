"""Brings what programs wrote to its one form, in the row itself: 12.50 becomes 12.5.

Both ends then hold equal texts for equal values. A value that can't be read is left as it is: it
travels, and the centre parks it with its reason.

A created_at that the plant had before is never touched: its programs write and read it in whatever
form they like, and may write back what they read. It is read as an instant at each drain.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from edge.sql_text import quoted
from edge.store.fold import differs
from edge.store.open import silent
from shared.catalog import CREATED_AT
from shared.errors import InvalidValue
from shared.values import canonical, column_problems

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from edge.store.fold import Touched
    from shared.catalog import Column, Table
    from shared.changes import Value

#: 2000 to 2099, in seconds since 1970. As milliseconds such a number is of 1970, and the other way
#: round it is of no year that has four digits: so it can mean one thing only.
_SECONDS: Final = (946_684_800, 4_102_444_800)
_NUMBER: Final = re.compile(r"[0-9]{9,13}(?:\.[0-9]+)?", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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


# --- instants as a plant writes them --------------------------------------------------------------


def instant_of(value: Value, zone: str) -> str:
    """Return what a plant's own column says as a canonical timestamp, or raise InvalidValue.

    Seconds and milliseconds since 1970 are taken where they can be nothing else, and texts without
    a zone where ``zone`` names theirs; "" where it is not known. Of a time that the clocks showed
    twice, the earlier counts.
    """
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        value = _counted(float(value))
    elif zone and isinstance(value, str):
        with suppress(InvalidValue):  # it has a zone of its own
            value = _placed(str(canonical(CREATED_AT.type, f"{value}Z")), zone)
    return str(canonical(CREATED_AT.type, value))


def _placed(form: str, zone: str) -> str:
    """Return the instant at which the clocks of a zone show what a canonical timestamp says."""
    bare = datetime.fromisoformat(form.removesuffix("Z"))
    return bare.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).isoformat()


def _counted(number: float) -> str:
    """Return the instant of a number of seconds or milliseconds since 1970."""
    low, high = _SECONDS
    for unit in (1, 1000):
        if low * unit <= number < high * unit:
            return (_EPOCH + timedelta(milliseconds=int(number * (1000 // unit)))).isoformat()
    message = (
        "a number of seconds or milliseconds since 1970 is expected, of the years 2000 to 2099"
    )
    raise InvalidValue(message)


def as_instant(value: Value, zone: str) -> Value:
    """Return it as a canonical timestamp; as it is where it can't be read, to be parked."""
    try:
        return instant_of(value, zone)
    except InvalidValue:
        return value
