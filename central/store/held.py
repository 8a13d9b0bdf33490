"""What the backup held of rows of which a site tells: read for ``central.store.salvage``."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from central.canonical import column_expressions
from central.store.literals import array
from central.store.statements import target
from shared.catalog import Kind
from shared.changes import SHARED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from central.store.applying import Applying
    from central.store.lives import Life
    from shared.catalog import Table
    from shared.changes import HeadBlock, Value


@dataclass(slots=True)
class Standing:
    """A row as the centre has it."""

    #: The version that the backup held, and whether that was a deletion; None where it held none.
    base: str | None = None
    was_deleted: bool = False
    #: The row's values as the backup had them, as far as is known; None where there was no row.
    values: Mapping[str, Value] | None = None
    created_at: str = ""


@dataclass(slots=True)
class Tips:
    """Rows of one table and owner, as a site knows them."""

    table: Table
    #: Who tells, and whose rows they are.
    site: str
    owner: str
    block: HeadBlock
    places: list[int]
    life: Life

    def of(self, column: Sequence[Any]) -> list[Any]:
        """Return the rows' values of one of the block's lists."""
        return [column[place] for place in self.places]


async def known_of(applying: Applying, tips: Tips) -> set[str]:
    """Return the rows whose version the centre knows: it is in what stands, or was overruled."""
    cursor = await applying.connection.execute(
        b"""SELECT DISTINCT k.id::text FROM unnest(%(ids)s::uuid[], %(versions)s::uuid[])
                AS k (id, version)
            JOIN sync.version AS v ON v.site_id = %(site)s AND v.table_no = %(table_no)s
                AND v.id = k.id AND v.version = k.version""",
        given(applying, tips) | {"versions": array(Kind.UUID, tips.of(tips.block.version))},
    )
    return {each for (each,) in await cursor.fetchall()}


def given(applying: Applying, tips: Tips) -> dict[str, Any]:
    """Return what the statements take."""
    return {
        "site": applying.site,
        "table_no": applying.no(tips.table),
        "ids": array(Kind.UUID, tips.of(tips.block.ids)),
        "order": tips.life.order_here,
    }


async def standing_of(applying: Applying, tips: Tips) -> dict[str, Standing]:
    """Hold the heads of the rows, and return them as the backup held them."""
    found = {each: Standing() for each in tips.of(tips.block.ids)}
    cursor = await applying.connection.execute(
        b"""SELECT h.id::text, b.version::text, b.op = 'D',
                   to_char(h.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            FROM (SELECT * FROM sync.head WHERE site_id = %(site)s AND table_no = %(table_no)s
                  AND id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE) AS h
            LEFT JOIN LATERAL (
                SELECT version, op FROM sync.version AS v
                WHERE v.site_id = h.site_id AND v.table_no = h.table_no AND v.id = h.id
                  AND v.ord <= %(order)s ORDER BY v.ord DESC LIMIT 1) AS b ON true""",
        given(applying, tips),
    )
    for each, base, was_deleted, created in await cursor.fetchall():
        found[each] = Standing(base, bool(was_deleted), None, created)
    held = {
        each: standing.created_at
        for each, standing in found.items()
        if standing.base is not None and not standing.was_deleted
    }
    for each, values in await _values(applying, tips.table, held):
        found[each].values = values
    for each, replaced in await _replaced(applying, tips):
        if each in held:
            found[each].values = {**(found[each].values or {}), **replaced}
    return found


async def _values(
    applying: Applying, table: Table, created: Mapping[str, str]
) -> list[tuple[str, dict[str, Value]]]:
    if not created:
        return []
    into = f"mes.{table.name}" if applying.site == SHARED else target(
        table, applying.site, (each[:7] for each in created.values())
    )  # fmt: skip
    listed = column_expressions(table.columns)
    text = (
        f"SELECT t.id::text, {listed} FROM unnest(%(ids)s::uuid[], %(created)s::timestamptz[])"
        f" AS k (id, created_at) JOIN {into} AS t"
        " ON t.site_id = %(site)s AND t.created_at = k.created_at AND t.id = k.id"
    )
    cursor = await applying.connection.execute(
        text.encode(),
        {
            "site": applying.site, "ids": array(Kind.UUID, list(created)),
            "created": array(Kind.TIMESTAMP, list(created.values())),
        },
    )  # fmt: skip
    return [
        (each, dict(zip(table.names, values, strict=True)))
        for each, *values in await cursor.fetchall()
    ]


async def _replaced(applying: Applying, tips: Tips) -> list[tuple[str, dict[str, Value]]]:
    """Return what clients of the centre have written over since: what the backup had there."""
    names, table = tips.table.names, tips.table
    listed = column_expressions(table.columns, "r")
    text = (
        "SELECT v.id::text, ARRAY(SELECT jsonb_object_keys(v.replaced)), "
        f"{listed} FROM sync.version AS v"
        f" CROSS JOIN LATERAL jsonb_populate_record(NULL::mes.{table.name}, v.replaced) AS r"
        " WHERE v.site_id = %(site)s AND v.table_no = %(table_no)s AND v.id = ANY(%(ids)s::uuid[])"
        " AND v.ord > %(order)s AND v.replaced IS NOT NULL ORDER BY v.id, v.ord DESC"
    )
    cursor = await applying.connection.execute(text.encode(), given(applying, tips))
    # The earliest comes last: what it replaced is what the backup had.
    found: dict[str, dict[str, Value]] = defaultdict(dict)
    for each, keys, *values in await cursor.fetchall():
        found[each] |= {
            name: value for name, value in zip(names, values, strict=True) if name in keys
        }
    return list(found.items())
