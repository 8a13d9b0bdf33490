"""Hashes of rows for archives: how PostgreSQL and a file are known to hold the same. Pure.

As in ``shared.sums``, a row is written as one text whose MD5 is cut to 64 bits, and sums of hashes
need no order. But a value stands there with the first name that its column ever had, and one that
is null not at all: so a row keeps its hash when a column is renamed, or added with no value, while
it lies in a file that nobody rewrites.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from central.canonical import expression
from shared.catalog import COMMON, Column, Kind, Table
from shared.sums import BYTES_MARK, FREE, HASH_BYTES, SEPARATOR, float_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from shared.changes import Value

#: A column as the catalogue has it now, and as some rows have it that were written earlier.
Named = tuple[Column, str]


#: Facts of which no month leaves, and why: answers rest on them that no rollup keeps. Months that
#: left before are told of by these answers, and can be brought back.
STAY: Final = {
    "inventory_movements": "what is on hand of a lot is the sum of all its movements",
    "measurements": "control charts and capability are made of them alone",
}


def archivable(table: Table) -> bool:
    """Return whether a table has an archive: facts that are split by site and month.

    Of those that ``STAY`` no month goes there any more.
    """
    return table.fact and table.partitioned


def named(table: Table, there: Collection[str]) -> tuple[Named, ...]:
    """Return the columns that rows of an earlier catalogue have too, each with its name there."""
    found = []
    for column in (*COMMON, *table.columns):
        name = next((n for n in (column.name, *column.renamed_from) if n in there), None)
        if name is not None:
            found.append((column, name))
    return tuple(found)


def all_named(table: Table) -> tuple[Named, ...]:
    """Return all columns, under the names that they have now."""
    return tuple((column, column.name) for column in (*COMMON, *table.columns))


def first_name(column: Column) -> str:
    """Return the name by which a column counts, whatever it is called by now."""
    return (*column.renamed_from, column.name)[0]


# --- in PostgreSQL ---------------------------------------------------------------------------


def hash_expression(columns: Sequence[Named], alias: str) -> str:
    """Return the SQL expression of a row's hash, a signed one of 64 bits."""
    parts = ", ".join(_part(c, f'{alias}."{name}"') for c, name in columns)
    return f"('x' || left(md5(concat_ws('{SEPARATOR}', {parts})), 16))::bit(64)::bigint"


def _part(column: Column, place: str) -> str:
    return f"'{first_name(column)}=' || {_text(column.type.kind, place)}"


def _text(kind: Kind, column: str) -> str:
    form = expression(kind, column)
    if kind in FREE:
        return f"octet_length({form}) || ':' || {form}"
    if kind is Kind.BYTES:
        return f"'{BYTES_MARK}' || encode({form}, 'hex')"
    if kind is Kind.FLOAT:
        return f"encode(float8send({form} + 0.0), 'hex')"
    return f"({form})::text" if kind in (Kind.INTEGER, Kind.BOOLEAN) else form


def function_statement(table: Table) -> str:
    """Return the statement that makes the function by which late rows are compared."""
    return (
        f"CREATE OR REPLACE FUNCTION sync.row_hash_{table.name}(r record) RETURNS bigint\n"
        "LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$\n"
        f"BEGIN\n    RETURN {hash_expression(all_named(table), 'r')};\nEND $$"
    )


# --- in a file -------------------------------------------------------------------------------


def hashes(columns: Sequence[Column], values: Sequence[Sequence[Value]]) -> list[int]:
    """Return the hashes of rows whose canonical values are given by column."""
    written = [_TEXTS.get(c.type.kind, _free if c.type.kind in FREE else str) for c in columns]
    names = [f"{first_name(column)}=" for column in columns]
    found = []
    for row in zip(*values, strict=True):
        parts = [
            name + write(value)
            for name, write, value in zip(names, written, row, strict=True)
            if value is not None
        ]
        digest = hashlib.md5(SEPARATOR.join(parts).encode(), usedforsecurity=False).digest()
        found.append(int.from_bytes(digest[:HASH_BYTES], "big"))
    return found


def _free(value: Value) -> str:
    text = str(value)
    return f"{len(text.encode())}:{text}"


_TEXTS: Final[dict[Kind, Callable[..., str]]] = {
    Kind.FLOAT: float_text,
    Kind.BYTES: lambda value: BYTES_MARK + value.hex(),
}
