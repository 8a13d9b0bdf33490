"""Values that sites of a newer schema sent for columns the centre did not have, put in their place.

They wait in ``sync.extra``. A migration that brings the column moves them into the row: as the
ingest, and so uncaptured. The site that wrote a value has it, and the row's version is the one
that the site wrote it under, so nothing is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
from psycopg import sql

from central.schema import SCHEMA
from shared.errors import InvalidValue
from shared.values import canonical, rule_broken

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from shared.catalog import Catalog, Column
    from shared.changes import Value


class _Extra(NamedTuple):
    site_id: str
    table_name: str
    id: UUID
    created_at: datetime
    column_name: str
    value: bytes


async def materialise(connection: AsyncConnection[Any], catalog: Catalog) -> list[str]:
    """Move values whose column is there now into their rows; return what was done, in words.

    A value that breaks the rule of its column stays where it is, and is named. One whose row is
    gone goes with it.
    """
    counts: dict[tuple[str, str], int] = {}
    refused: list[str] = []
    for item in await _waiting(connection, catalog):
        table = catalog.table(item.table_name)
        column = table.column(table.current_name(item.column_name))
        try:
            value = _checked(column, msgpack.unpackb(item.value))
        except InvalidValue as error:
            refused.append(f"{table.name} {item.id}, {column.name} not filled in: {error}")
            continue
        await _put(connection, item, column, value)
        place = (table.name, column.name)
        counts[place] = counts.get(place, 0) + 1
    done = [f"{table}.{name} filled in for {n} rows" for (table, name), n in counts.items()]
    return done + refused


async def _waiting(connection: AsyncConnection[Any], catalog: Catalog) -> list[_Extra]:
    found: list[_Extra] = []
    for table, names in _columns(catalog):
        cursor = await connection.execute(
            "SELECT site_id, table_name, id, created_at, column_name, value FROM sync.extra"
            " WHERE table_name = %s AND column_name = ANY(%s)",
            [table, names],
        )
        found += [_Extra(*row) for row in await cursor.fetchall()]
    return found


def _columns(catalog: Catalog) -> Iterator[tuple[str, list[str]]]:
    for table in catalog.tables:
        yield table.name, [n for c in table.columns for n in (c.name, *c.renamed_from)]


def _checked(column: Column, value: object) -> Value:
    form = canonical(column.type, value)
    if rule := rule_broken(column, form):
        raise InvalidValue(rule)
    return form


async def _put(
    connection: AsyncConnection[Any], item: _Extra, column: Column, value: Value
) -> None:
    key = [item.site_id, item.created_at, item.id]
    shown = bool(value) if column.type.kind.value == "boolean" and value is not None else value
    await connection.execute(
        sql.SQL("UPDATE {} SET {} = %s WHERE (site_id, created_at, id) = (%s, %s, %s)").format(
            sql.Identifier(SCHEMA, item.table_name), sql.Identifier(column.name)
        ),
        [shown, *key],
    )
    await connection.execute(
        "DELETE FROM sync.extra WHERE (site_id, table_name, id, column_name) = (%s, %s, %s, %s)",
        [item.site_id, item.table_name, item.id, item.column_name],
    )
