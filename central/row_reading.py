"""Rows of central and two-way tables as planners read them: one, or a page of those that fit.

Each is read with the version of its head, which a write of it has to show. In the caller's
transaction: row-level security holds back what its sites do not share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from central.canonical import column_expressions, key_expressions
from shared.catalog import COMMON, Column, ColumnType, Kind
from shared.changes import SHARED
from shared.errors import InvalidValue, SyncError
from shared.values import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

    from shared.catalog import Table
    from shared.changes import Value

#: Rows of a page.
ROWS_MAX: Final = 1_000
#: Filters of one question.
FILTERS_MAX: Final = 20


class UnknownRow(SyncError):
    """There is no such row."""


class BadFilter(SyncError):
    """A filter can't be read."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row as it stands."""

    site: str
    id: str
    created_at: str
    version: str | None
    #: None where it is deleted.
    values: Mapping[str, Value] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows to list."""

    sites: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    #: Site, instant and id of the row after which the page begins.
    after: tuple[str, str, str] | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Filter:
    """What a column has to be."""

    column: Column
    how: str
    value: Value


# --- filters ---------------------------------------------------------------------------------

_SIGNS: Final = {"eq": "=", "not": "IS DISTINCT FROM", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_CONTAINS: Final = "contains"
_NULL: Final = "null"
HOWS: Final = (*_SIGNS, _CONTAINS, _NULL)
_FORM: Final = re.compile(rf"([a-z][a-z0-9_]*):({'|'.join(HOWS)}):(.*)", re.DOTALL)
#: Kinds whose values PostgreSQL does not compare, or that nobody looks for by their text.
_NOT_COMPARED: Final = (Kind.JSON, Kind.BYTES)
_YES: Final = Column(_NULL, ColumnType(Kind.BOOLEAN))
_ANY_TEXT: Final = Column(_CONTAINS, ColumnType(Kind.TEXT))


def read_filter(table: Table, text: str) -> Filter:
    """Return the filter that a text such as ``due_at:lt:2026-12-01T00:00:00Z`` is.

    Raise BadFilter, which names the rule.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadFilter(f"a filter is COLUMN:HOW:VALUE, with HOW one of {', '.join(HOWS)}")
    name, how, value = match.groups()
    column = {each.name: each for each in (*COMMON, *table.columns)}.get(name)
    if column is None:
        raise BadFilter(f"table {table.name} has no column {name[:60]}")
    kind = column.type.kind
    if how == _NULL:
        return Filter(column, how, _canonical(_YES, value))
    if how == _CONTAINS:
        if kind not in (Kind.TEXT, Kind.SET):
            raise BadFilter(f"{name} is of the kind {kind}: `contains` is for texts and sets")
        return Filter(column, how, _canonical(_ANY_TEXT, value))
    if kind in _NOT_COMPARED:
        raise BadFilter(f"{name} is of the kind {kind}: only `null` is for it")
    return Filter(column, how, _canonical(column, value))


def _canonical(column: Column, value: str) -> Value:
    try:
        return canonical(column.type, value)
    except InvalidValue as error:
        raise BadFilter(f"{column.name}: {error}") from error


def _condition(one: Filter) -> tuple[sql.Composable, Value]:
    """Return the SQL of a filter with a place for its value."""
    name = sql.Identifier("t", one.column.name)
    if one.how == _NULL:
        return sql.SQL("({} IS NULL) = (%s = 1)").format(name), one.value
    if one.how == _CONTAINS:
        # A set is the text of a JSON array: a member stands in it between quotes.
        looked = "to_json(%s::text)::text" if one.column.type.kind is Kind.SET else "%s::text"
        return sql.SQL(f"strpos({{}}, {looked}) > 0").format(name), one.value
    value = bool(one.value) if one.column.type.kind is Kind.BOOLEAN else one.value
    return sql.SQL(f"{{}} {_SIGNS[one.how]} %s").format(name), value


# --- reading ---------------------------------------------------------------------------------

_HEAD: Final = """
SELECT h.site_id, to_char(h.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
       h.version::text, h.deleted
FROM sync.head AS h JOIN sync.table_no AS n ON n.no = h.table_no
WHERE n.name = %s AND h.id = %s AND h.site_id = ANY (%s)
ORDER BY h.deleted, h.site_id LIMIT 1"""


async def find_row(
    connection: AsyncConnection[Any], table: Table, sites: Sequence[str], row_id: str
) -> Found:
    """Return a row of these sites, or a shared one, also where it is deleted.

    Raise UnknownRow where there is none that is theirs to see; nothing tells then whether there is
    one of another site.
    """
    cursor = await connection.execute(_HEAD, [table.name, row_id, [*sites, SHARED]])
    head = await cursor.fetchone()
    if head is not None:
        site, created_at, version, is_deleted = head
        values = None
        if not is_deleted:
            values = await _values(connection, table, (site, created_at, row_id))
        if is_deleted or values is not None:
            return Found(site, row_id, created_at, version, values)
    raise UnknownRow(f"no row {row_id} of {table.name} here that this key or token reaches")


async def _values(
    connection: AsyncConnection[Any], table: Table, key: tuple[str, str, str]
) -> dict[str, Value] | None:
    text = (
        f"SELECT {column_expressions(table.columns)} FROM mes.{table.name} AS t"
        " WHERE t.site_id = %s AND t.created_at = %s AND t.id = %s"
    )
    cursor = await connection.execute(text.encode(), key)
    row = await cursor.fetchone()
    return dict(zip(table.names, row, strict=True)) if row else None


async def list_rows(connection: AsyncConnection[Any], table: Table, wanted: Wanted) -> list[Found]:
    """Return rows of these sites and shared ones in the order of their keys, one beyond the limit.

    The sites stand in the query as literals, so that the partitions of others are never opened.
    """
    owners = sql.SQL(", ").join(sql.Literal(site) for site in (*wanted.sites, SHARED))
    conditions: list[sql.Composable] = [sql.SQL("t.site_id IN ({})").format(owners)]
    values: list[Any] = []
    for condition, value in map(_condition, wanted.filters):
        conditions.append(condition)
        values.append(value)
    if wanted.after:
        conditions.append(sql.SQL("(t.site_id, t.created_at, t.id) > (%s, %s, %s)"))
        values += wanted.after
    query = sql.SQL(
        f"SELECT {key_expressions()}, h.version::text, {column_expressions(table.columns)}"
        f" FROM mes.{table.name} AS t LEFT JOIN sync.head AS h"
        " ON h.site_id = t.site_id AND h.id = t.id"
        " AND h.table_no = (SELECT no FROM sync.table_no WHERE name = {name})"
        " WHERE {conditions} ORDER BY t.site_id, t.created_at, t.id LIMIT {limit}"
    ).format(
        name=sql.Literal(table.name), conditions=sql.SQL(" AND ").join(conditions),
        limit=sql.Literal(wanted.limit + 1),
    )  # fmt: skip
    cursor = await connection.execute(query, values)
    return [
        Found(site, row_id, created_at, version, dict(zip(table.names, rest, strict=True)))
        for site, created_at, row_id, version, *rest in await cursor.fetchall()
    ]
