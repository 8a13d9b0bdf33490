"""Values that sites of a newer schema sent for columns the centre did not have, put in their place.

They wait in ``sync.extra``. A migration that brings the column moves them into the rows, in its own
transaction, before the ingest can write the column: as the ingest, and so uncaptured. The site
that wrote a value has it, and the row's version is that of its write, so nothing is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import msgpack
from psycopg import sql

from central.schema import SCHEMA, type_name
from shared.catalog import Kind
from shared.errors import InvalidValue
from shared.values import canonical, rule_broken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from psycopg import AsyncConnection

    from shared.catalog import Catalog, Column, Table
    from shared.changes import Value

#: Values that are moved by one statement.
TOGETHER_MAX: Final = 5_000


class _Extra(NamedTuple):
    site_id: str
    created_at: datetime
    id: UUID
    value: bytes


async def materialise(connection: AsyncConnection[Any], catalog: Catalog) -> list[str]:
    """Move values whose column is there now into their rows; return what was done, in words.

    A value that breaks the rule of its column stays where it is, and is counted with an example.
    One whose row is gone goes with it.
    """
    done: list[str] = []
    for table, column, name in await _columns(connection, catalog):
        moved, refused = 0, 0
        example = ""
        async for batch in _batches(connection, table, name):
            good, mistakes = _checked(column, batch)
            await _put(connection, table, column, good)
            await _drop(connection, table, name, [item for item, _ in good])
            moved, refused = moved + len(good), refused + len(mistakes)
            example = example or next(iter(mistakes), "")
        if moved:
            done.append(f"{table.name}.{column.name} filled in for {moved} rows")
        if refused:
            done.append(f"{table.name}.{column.name} not filled in for {refused} rows: {example}")
    return done


async def _columns(
    connection: AsyncConnection[Any], catalog: Catalog
) -> list[tuple[Table, Column, str]]:
    """Return the columns that are there now, with the names that values wait under for them."""
    cursor = await connection.execute("SELECT DISTINCT table_name, column_name FROM sync.extra")
    waiting = set(await cursor.fetchall())
    return [
        (table, column, name)
        for table in catalog.tables
        for column in table.columns
        # The present name last: it is the later value where a row has one under both.
        for name in (*column.renamed_from, column.name)
        if (table.name, name) in waiting
    ]


async def _batches(
    connection: AsyncConnection[Any], table: Table, name: str
) -> AsyncIterator[list[_Extra]]:
    after: tuple[str, UUID] = ("", UUID(int=0))
    while True:
        cursor = await connection.execute(
            """SELECT site_id, created_at, id, value FROM sync.extra
               WHERE table_name = %s AND column_name = %s AND (site_id, id) > (%s, %s)
               ORDER BY site_id, id LIMIT %s""",
            [table.name, name, *after, TOGETHER_MAX],
        )
        batch = [_Extra(*row) for row in await cursor.fetchall()]
        if not batch:
            return
        yield batch
        after = (batch[-1].site_id, batch[-1].id)


def _checked(column: Column, batch: list[_Extra]) -> tuple[list[tuple[_Extra, Value]], list[str]]:
    good: list[tuple[_Extra, Value]] = []
    mistakes: list[str] = []
    for item in batch:
        try:
            value = canonical(column.type, msgpack.unpackb(item.value))
            rule = rule_broken(column, value)
        except InvalidValue as error:
            value, rule = None, str(error)
        if rule:
            mistakes.append(f"row {item.id} of site {item.site_id}: {rule}")
        else:
            good.append((item, value))
    return good, mistakes


async def _put(
    connection: AsyncConnection[Any], table: Table, column: Column, good: list[tuple[_Extra, Value]]
) -> None:
    values = [value for _, value in good]
    if column.type.kind is Kind.BOOLEAN:
        values = [None if value is None else bool(value) for value in values]
    keys = [[getattr(item, name) for item, _ in good] for name in ("site_id", "created_at", "id")]
    await connection.execute(
        sql.SQL(
            """UPDATE {table} AS t SET {column} = v.value
               FROM unnest(%s::text[], %s::timestamptz[], %s::uuid[], {type})
                   AS v (site_id, created_at, id, value)
               WHERE (t.site_id, t.created_at, t.id) = (v.site_id, v.created_at, v.id)"""
        ).format(
            table=sql.Identifier(SCHEMA, table.name),
            column=sql.Identifier(column.name),
            type=sql.SQL(f"%s::{type_name(column.type)}[]"),
        ),
        [*keys, values],
    )


async def _drop(
    connection: AsyncConnection[Any], table: Table, name: str, items: list[_Extra]
) -> None:
    await connection.execute(
        """DELETE FROM sync.extra AS e USING unnest(%s::text[], %s::uuid[]) AS v (site_id, id)
           WHERE e.table_name = %s AND e.column_name = %s
             AND (e.site_id, e.id) = (v.site_id, v.id)""",
        [[item.site_id for item in items], [item.id for item in items], table.name, name],
    )
