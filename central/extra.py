"""Values that sites of a newer schema sent for columns the centre did not have, put in their place.

They wait in ``sync.extra``. A migration that brings the column moves them into the rows, in its own
transaction, before the ingest can write the column: as the ingest, and so uncaptured. What was
written into the column since stays. The site that wrote a value has it, and the row's version is
that of its write, which is noted to have touched the column: nothing is sent, but for shared rows,
whose other sites learn of the value by a version of its own, and for what a store wrote that has
gone back to an older copy since.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import msgpack
from psycopg import sql

from central.canonical import column_expressions, expression
from central.schema import SCHEMA, type_name
from central.store.changeset import name_of
from central.store.records import conflict_values, record_conflicts
from central.store.session import Session
from shared.catalog import SITE_ID, Kind
from shared.changes import SHARED
from shared.clock import wall_ms
from shared.errors import InvalidValue
from shared.values import canonical, rule_broken
from sync.decisions import CENTRE, Author, Conflict, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from psycopg import AsyncConnection

    from central.store.applying import Applying
    from central.store.records import Item
    from shared.catalog import Catalog, Column, Group, Table
    from shared.changes import Value

# Heads of rows of which a change is parked, or was discarded, that names one of these columns: its
# site had the value in its row, and we had no column to tell it by that it does not count.
_NOT_COUNTED: Final = """
INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
SELECT DISTINCT n.no, h.site_id, h.id, h.created_at, ARRAY[h.site_id]
FROM mes.sync_parked AS p
JOIN sync.table_no AS n ON n.name = p.table_name
JOIN sync.head AS h ON h.table_no = n.no AND h.site_id = p.site_id AND h.id = p.row_id
WHERE p.table_name = %(table)s AND p.state <> 'applied'
  AND EXISTS (SELECT FROM unnest(%(keys)s::text[]) AS k (key)
              WHERE strpos(p.content::text, k.key) > 0)"""

#: Values that are moved by one statement.
TOGETHER_MAX: Final = 5_000


# The last that the centre wrote into a column of which a value of the site waits, and what stands
# there now; nobody at the centre can have seen the value.
_DISPLACED: Final = """
SELECT v.place - 1, {value}, o.version::text, w.writer, w.at_ms, w.clamped
FROM unnest(%(sites)s::text[], %(ids)s::uuid[], %(orders)s::bigint[])
     WITH ORDINALITY AS v (site_id, id, ord, place)
JOIN sync.table_no AS n ON n.name = %(table)s
JOIN sync.head AS h ON h.table_no = n.no AND h.site_id = v.site_id AND h.id = v.id
JOIN {table} AS t ON t.site_id = v.site_id AND t.created_at = h.created_at AND t.id = v.id
JOIN sync.version AS o
     ON o.table_no = n.no AND o.site_id = v.site_id AND o.id = v.id AND o.ord = v.ord
JOIN LATERAL (
    SELECT l.origin, l.writer, l.at_ms, l.clamped FROM sync.version AS l
    WHERE l.table_no = n.no AND l.site_id = v.site_id AND l.id = v.id AND l.ord > v.ord
      AND (l.op <> 'U' OR l.mask & %(bit)s <> 0)
    ORDER BY l.ord DESC LIMIT 1) AS w ON w.origin <> v.site_id"""


class _Extra(NamedTuple):
    site_id: str
    created_at: datetime
    id: UUID
    value: bytes
    #: Clock of the drain, and order of the version, that it came with.
    hlc: int
    order: int


async def materialise(connection: AsyncConnection[Any], catalog: Catalog) -> list[str]:
    """Move values whose column is there now into their rows; return what was done, in words.

    A value that breaks the rule of its column stays where it is, and is counted with an example.
    One whose row is gone, or was given another value since, goes with it; what the centre gave it,
    which can't have seen the value, is in conflict with it, on record.
    """
    done: list[str] = []
    applying = await _applying(connection, catalog)
    for table, column, name in await _columns(connection, catalog):
        moved, refused = 0, 0
        example = ""
        async for batch in _batches(connection, table, name):
            standing = batch if table.fact else await _standing(connection, table, column, batch)
            good, mistakes = _checked(column, standing)
            if not table.fact:
                await _record(applying, table, column, _without(batch, standing))
            await _put(connection, table, column, good)
            if not table.fact:
                await _note(connection, table, column, [item for item, _ in good])
            await _drop(connection, table, name, [item for item in batch if item not in mistakes])
            moved, refused = moved + len(good), refused + len(mistakes)
            example = example or next(iter(mistakes.values()), "")
        if moved:
            done.append(f"{table.name}.{column.name} filled in for {moved} rows")
        if refused:
            done.append(f"{table.name}.{column.name} not filled in for {refused} rows: {example}")
    return done


async def tell_of_parked(connection: AsyncConnection[Any], catalog: Catalog) -> None:
    """Send sites their rows of which a parked change has a value in a column that came since.

    Their stores have the column, and show that value.
    """
    for table in catalog.tables if "sync_parked" in catalog else ():
        # By its earlier names, too: a site may have sent it under one that we had in no release.
        later = [n for c in table.columns if c.since > 1 for n in (*c.renamed_from, c.name)]
        if later and not table.fact:
            keys = [f'"{name}"' for name in later]
            await connection.execute(_NOT_COUNTED, {"table": table.name, "keys": keys})


async def _applying(connection: AsyncConnection[Any], catalog: Catalog) -> Applying:
    cursor = await connection.execute(f"SELECT {expression(Kind.TIMESTAMP, 'now()')}".encode())
    row = await cursor.fetchone()
    assert row is not None
    session = Session(connection, catalog, None)
    return await session.applying(connection, SHARED, now=row[0], waiting=False)


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
            """SELECT site_id, created_at, id, value, hlc, ord FROM sync.extra
               WHERE table_name = %s AND column_name = %s AND (site_id, id) > (%s, %s)
               ORDER BY site_id, id LIMIT %s""",
            [table.name, name, *after, TOGETHER_MAX],
        )
        batch = [_Extra(*row) for row in await cursor.fetchall()]
        if not batch:
            return
        yield batch
        after = (batch[-1].site_id, batch[-1].id)


async def _standing(
    connection: AsyncConnection[Any], table: Table, column: Column, batch: list[_Extra]
) -> list[_Extra]:
    """Return the values whose column nobody wrote since; the rows' heads are held until the end.

    What its own site wrote before, and what was parked meanwhile, does not count.
    """
    given = _given(batch, table, column)
    await connection.execute(
        """SELECT FROM sync.head AS h
           JOIN unnest(%(sites)s::text[], %(ids)s::uuid[]) AS v (site_id, id) USING (site_id, id)
           WHERE h.table_no = (SELECT no FROM sync.table_no WHERE name = %(table)s)
           ORDER BY h.site_id, h.id FOR UPDATE OF h""",
        given,
    )
    cursor = await connection.execute(
        """SELECT v.place - 1
           FROM unnest(%(sites)s::text[], %(ids)s::uuid[], %(orders)s::bigint[], %(hlcs)s::bigint[])
                WITH ORDINALITY AS v (site_id, id, ord, hlc, place)
           WHERE NOT EXISTS (
               SELECT FROM sync.version AS w
               WHERE w.table_no = (SELECT no FROM sync.table_no WHERE name = %(table)s)
                 AND w.site_id = v.site_id AND w.id = v.id AND w.ord > v.ord
                 AND (w.op <> 'U' OR w.mask & %(bit)s <> 0)
                 AND (w.origin <> v.site_id OR w.hlc >= v.hlc))""",
        given,
    )
    return [batch[place] for (place,) in await cursor.fetchall()]


def _without(batch: list[_Extra], some: list[_Extra]) -> list[_Extra]:
    left = set(batch) - set(some)
    return [item for item in batch if item in left]


async def _record(applying: Applying, table: Table, column: Column, items: list[_Extra]) -> None:
    """Keep values that the centre's own writes displaced, unseen, in the history of conflicts."""
    if not items:
        return
    statement = sql.SQL(_DISPLACED).format(
        table=sql.Identifier(SCHEMA, table.name), value=sql.SQL(column_expressions([column]))
    )
    cursor = await applying.connection.execute(statement, _given(items, table, column))
    conflicts: dict[str, list[Item]] = defaultdict(list)
    for place, value, version, *wrote in await cursor.fetchall():
        item = items[place]
        conflict = _displaced(
            item, table.group_of(column.name), {column.name: value}, Author(CENTRE, *wrote)
        )
        row_id = str(item.id)
        row = {"table_name": table.name, "row_id": row_id, "decided_at": applying.now}
        own = name_of(version, table.name, row_id, column.name, "waited")
        values = {**conflict_values(conflict), **row, "tx_id": version}
        conflicts[item.site_id].append((own, applying.now, values))
    for site, found in conflicts.items():
        await record_conflicts(replace(applying, site=site), found)


def _displaced(item: _Extra, group: Group, stands: Mapping[str, Value], wrote: Author) -> Conflict:
    (name,) = stands
    return Conflict(
        columns=(name,),
        group=group.name,
        policy=group.policy,
        outcome=Outcome.CENTRAL,
        base=None,
        here={name: msgpack.unpackb(item.value)},
        central=stands,
        result=stands,
        central_author=wrote,
        here_author=Author(item.site_id, None, wall_ms(item.hlc), clamped=False),
    )


def _given(items: list[_Extra], table: Table, column: Column) -> dict[str, Any]:
    return {
        "table": table.name,
        "bit": 1 << table.bit(column.name),
        "sites": [item.site_id for item in items],
        "ids": [item.id for item in items],
        "hlcs": [item.hlc for item in items],
        "orders": [item.order for item in items],
    }


def _checked(
    column: Column, batch: list[_Extra]
) -> tuple[list[tuple[_Extra, Value]], dict[_Extra, str]]:
    good: list[tuple[_Extra, Value]] = []
    mistakes: dict[_Extra, str] = {}
    for item in batch:
        try:
            value = canonical(column.type, msgpack.unpackb(item.value))
            rule = rule_broken(column, value)
        except InvalidValue as error:
            value, rule = None, str(error)
        if rule:
            mistakes[item] = f"row {item.id} of site {item.site_id}: {rule}"
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


async def _note(
    connection: AsyncConnection[Any], table: Table, column: Column, items: list[_Extra]
) -> None:
    """Note in the history that the writes touched the column, and tell who does not have it.

    Those are the other sites of the row, and its own where its store has lost the write.
    """
    given = _given(items, table, column) | {"of_several": table.share != (SITE_ID.name,)}
    await connection.execute(
        """UPDATE sync.version AS w SET mask = w.mask | %(bit)s
           FROM unnest(%(sites)s::text[], %(ids)s::uuid[], %(orders)s::bigint[])
                AS v (site_id, id, ord)
           WHERE w.table_no = (SELECT no FROM sync.table_no WHERE name = %(table)s)
             AND (w.site_id, w.id, w.ord) = (v.site_id, v.id, v.ord) AND w.origin = v.site_id""",
        given,
    )
    await _tell(connection, table, given)


async def _tell(connection: AsyncConnection[Any], table: Table, given: dict[str, Any]) -> None:
    shares = (sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in table.share)
    await connection.execute(
        sql.SQL(
            """WITH moved AS (
                   UPDATE sync.head AS h
                   SET version = made.version, ord = nextval('sync.version_order')
                   FROM unnest(%(sites)s::text[], %(ids)s::uuid[], %(hlcs)s::bigint[],
                               %(orders)s::bigint[]) AS v (site_id, id, hlc, ord),
                        (SELECT uuidv7()) AS made (version)
                   WHERE h.table_no = (SELECT no FROM sync.table_no WHERE name = %(table)s)
                     AND (h.site_id, h.id) = (v.site_id, v.id) AND NOT h.deleted
                     AND (%(of_several)s OR EXISTS (
                         SELECT FROM sync.version AS w WHERE w.table_no = h.table_no AND w.lost
                         AND (w.site_id, w.id, w.ord) = (v.site_id, v.id, v.ord)))
                   RETURNING h.*, v.hlc
               ), noted AS (
                   INSERT INTO sync.version
                       (site_id, table_no, id, ord, version, op, mask, origin, at_ms, hlc)
                   SELECT site_id, table_no, id, ord, version, 'U', %(bit)s, site_id, hlc >> 16, hlc
                   FROM moved
               )
               INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
               SELECT m.table_no, t.site_id, t.id, t.created_at, sync.scopes({shares})
               FROM moved AS m JOIN {table} AS t USING (site_id, created_at, id)"""
        ).format(shares=sql.SQL(", ").join(shares), table=sql.Identifier(SCHEMA, table.name)),
        given,
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
