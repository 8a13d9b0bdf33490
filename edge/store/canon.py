"""Brings what programs wrote to its one form, in the row itself: 12.50 becomes 12.5.

Both ends then hold equal texts for equal values. A value that can't be read is left as it is: it
travels, and the centre parks it with its reason.

A created_at that the plant had before keeps the form that its programs write, who may write back
what they read. It is read as an instant at each drain.
"""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from edge.sql_text import quoted
from edge.store.aside import REFUSALS, words_of
from edge.store.lasts import differs
from edge.store.open import silent
from shared.catalog import CREATED_AT
from shared.errors import InvalidValue
from shared.values import canonical, column_problems

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from edge.store.fold import Touched
    from shared.catalog import Column, Table
    from shared.changes import Value

#: 2000 to 2099, in seconds since 1970. As milliseconds such a number is of 1970, and the other way
#: round it is of no year that has four digits: so it can mean one thing only.
_SECONDS: Final = (946_684_800, 4_102_444_800)
_NUMBER: Final = re.compile(r"[0-9]{9,13}(?:\.[0-9]+)?", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Correction:
    """The canonical forms of rows in which the same columns are not in theirs."""

    columns: tuple[str, ...]
    #: Where each row stands in the lists that were looked at.
    places: list[int]
    #: For each row the forms of its columns, then what names the row.
    given: list[tuple[Value, ...]]

    def single(self) -> Iterator[Correction]:
        """Yield it value by value."""
        for place, (*forms, key) in zip(self.places, self.given, strict=True):
            for column, form in zip(self.columns, forms, strict=True):
                yield Correction((column,), [place], [(form, key)])

    def bring(self, lists: Mapping[Column, list[Value]]) -> None:
        """Put the forms into the lists that were looked at."""
        named = {column.name: values for column, values in lists.items()}
        for at, name in enumerate(self.columns):
            values = named[name]
            for place, given in zip(self.places, self.given, strict=True):
                values[place] = given[at]


def corrections(lists: Mapping[Column, Sequence[Value]], keys: Sequence[Value]) -> list[Correction]:
    """Return the forms of the values that have one and are not in it; ``keys`` name the rows."""
    rows: defaultdict[int, list[tuple[str, Value]]] = defaultdict(list)
    for column, values in lists.items():
        for place, form in _forms(column, values):
            rows[place].append((column.name, form))
    found: dict[tuple[str, ...], Correction] = {}
    for place, each in rows.items():
        names, forms = zip(*each, strict=True)
        correction = found.setdefault(names, Correction(names, [], []))
        correction.places.append(place)
        correction.given.append((*forms, keys[place]))
    return list(found.values())


def _forms(column: Column, values: Sequence[Value]) -> Iterator[tuple[int, Value]]:
    known: dict[tuple[type, Value], Value] = {}  # a column repeats few values
    for place, _ in column_problems(column, values):
        value = values[place]
        if (type(value), value) not in known:
            with suppress(InvalidValue):
                known[type(value), value] = canonical(column.type, value)
        form = known.get((type(value), value), value)
        if differs(form, value):
            yield place, form


def to_one_form(
    connection: sqlite3.Connection,
    table: Table,
    lists: Mapping[Column, list[Value]],
    keys: Sequence[Value],
    key: str,
) -> bool:
    """Replace values that are not in their canonical form, here and in the table.

    ``keys`` are the rows' values of the column ``key``. Returns whether anything was replaced.
    """
    replaced = False
    for correction in corrections(lists, keys):
        whole = put(connection, table, correction, key)
        for each in (correction,) if whole else correction.single():
            if whole or put(connection, table, each, key):
                each.bring(lists)
                replaced = True
    return replaced


def put(connection: sqlite3.Connection, table: Table, correction: Correction, key: str) -> bool:
    """Put forms into their rows, which ``key`` names; return whether all of them stand there.

    One does not where it clashes with another row's key, or where a trigger of the plant refuses
    it, or can't be run here: then the value goes as it is. Raises RolledBack where it rolls all
    back: nothing is drained then, and the agent says so.
    """
    changes = ", ".join(f"{quoted(name)} = ?" for name in correction.columns)
    statement = f"UPDATE OR IGNORE {quoted(table.name)} SET {changes} WHERE {quoted(key)} = ?"
    with silent(connection):
        try:
            changed = connection.executemany(statement, correction.given).rowcount
        except REFUSALS as error:
            words_of(connection, table.name, error)
            return False
    return changed == len(correction.given)


def one_form_of_old(table: Table, touched: Touched) -> Touched:
    """Return what stood in an adopted row in canonical form.

    Its own columns may not hold that form (a decimal in a REAL column), so it is made at each read.
    """
    return touched._replace(old=_one_form(table, touched.old, touched.mask))


def one_form_of_displaced(table: Table, touched: Touched) -> Touched:
    """Return a row with what was displaced or deleted in canonical form, as it is now."""
    lasts = touched.lasts
    if lasts is None or lasts.displaced is None:
        return touched
    every = (1 << len(table.columns)) - 1
    displaced = _one_form(table, lasts.displaced, every)
    return touched._replace(lasts=replace(lasts, displaced=displaced))


def _one_form(table: Table, values: Sequence[Value], mask: int) -> list[Value]:
    return [
        one_form(table, bit, value) if mask >> bit & 1 else value
        for bit, value in enumerate(values)
    ]


def one_form(table: Table, bit: int, value: Value) -> Value:
    """Return the value of a column in canonical form, one that can't be read as it is."""
    with suppress(InvalidValue):
        return canonical(table.columns[bit].type, value)
    return value


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
    try:
        return bare.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).isoformat()
    except OverflowError as error:  # in the year 1 or 9999, which programs take for "never"
        raise InvalidValue("no instant that UTC can tell") from error


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
