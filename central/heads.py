"""The heads of rows, read for a feed or a snapshot in their canonical form."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection, sql

from central.canonical import column_expressions, expression, sites_of
from shared.catalog import Catalog, Kind, Table
from shared.changes import SHARED, Fate, HeadBlock, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Version of a row that has none: a fact, or a row that was never accepted.
NO_VERSION = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Touched:
    """A row that somebody changed, and the scopes that must hear of it."""

    table: str
    site_id: str
    row_id: str
    created_at: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Head:
    """A row as it stands: its values, or None where it is deleted or was never accepted."""

    touched: Touched
    version: str
    order: int
    values: tuple[Value, ...] | None


async def read_heads(
    connection: AsyncConnection[Any], table: Table, rows: Sequence[Touched]
) -> list[Head]:
    """Return the heads of these rows, one each, in the order given."""
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    cursor = await connection.execute(
        _heads_query(table),
        [[r.site_id for r in rows], [r.row_id for r in rows], [r.created_at for r in rows]],
    )
    async for row in cursor:
        found[row[0], row[1]] = row
    heads = []
    for each in rows:
        _, _, created, version, order, present, *values = found[each.site_id, each.row_id]
        row = replace(each, created_at=created)
        heads.append(
            Head(row, version or NO_VERSION, order or 0, tuple(values) if present else None)
        )
    return heads


def _heads_query(table: Table) -> sql.Composed:
    # The business row is found by its whole key, so that only its own partition is looked at. What
    # created_at is says the head: a queued change may speak of another, of a row that stood before
    # or of one that was refused for it.
    created = "coalesce(h.created_at, k.created_at)"
    text = f"""
        SELECT k.site_id, k.id::text, {created_expression(created)}, h.version::text, h.ord,
               t.id IS NOT NULL
               {_and(column_expressions(table.columns))}
        FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[]) AS k (site_id, id, created_at)
        LEFT JOIN sync.head h ON h.site_id = k.site_id AND h.id = k.id
             AND h.table_no = (SELECT no FROM sync.table_no WHERE name = {{name}})
        LEFT JOIN mes.{{table}} t
             ON t.site_id = k.site_id AND t.created_at = {created} AND t.id = k.id
             AND h.deleted IS NOT TRUE"""
    return sql.SQL(text).format(name=sql.Literal(table.name), table=sql.Identifier(table.name))


def _and(expressions: str) -> str:
    return f", {expressions}" if expressions else ""


def fates(table: Table, head: Head) -> dict[str, Fate]:
    """Return what each scope must hear of a row: it stands, it is gone, or it left the share."""
    if head.values is None:
        return dict.fromkeys(head.touched.scopes, Fate.GONE)
    share = sites_of(table, head.values, head.touched.site_id)
    scopes = head.touched.scopes
    if SHARED in scopes - share:  # what all follow takes it from all: who keeps it gets it anew
        scopes |= share
    # A scope that was never in the share has the row only as a parked write of its own.
    return {scope: Fate.PUT if scope in share or SHARED in share else Fate.LEFT for scope in scopes}


def blocks_by_scope(
    catalog: Catalog, heads: Mapping[str, Iterable[Head]]
) -> dict[str, list[HeadBlock]]:
    """Return the blocks that each scope gets, parents before children."""
    sorted_heads: dict[str, dict[tuple[str, Fate], list[Head]]] = defaultdict(dict)
    for table in catalog.parents_first():
        for head in heads.get(table.name, ()):
            for scope, fate in fates(table, head).items():
                sorted_heads[scope].setdefault((table.name, fate), []).append(head)
    return {
        scope: [_block(catalog.table(name), fate, rows) for (name, fate), rows in groups.items()]
        for scope, groups in sorted_heads.items()
    }


def _block(table: Table, fate: Fate, heads: Sequence[Head]) -> HeadBlock:
    names = table.names if fate is Fate.PUT else ()
    values = [head.values or () for head in heads]
    return HeadBlock(
        table=table.name,
        fate=fate,
        columns=names,
        sites=[h.touched.site_id for h in heads],
        created=[h.touched.created_at for h in heads],
        ids=[h.touched.row_id for h in heads],
        version=[h.version for h in heads],
        order=[h.order for h in heads],
        new=[list(column) for column in zip(*values, strict=True)] if names else [],
    )


def created_expression(column: str) -> str:
    """Return the SQL expression of an instant in canonical form."""
    return expression(Kind.TIMESTAMP, column)
