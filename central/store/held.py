"""What a site had seen of rows of which it tells: read for ``central.store.salvage``.

That is what the backup held, or what came home before of the same lost history.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from central.canonical import by_names_now, column_expressions, kept_expressions
from central.store.changeset import Origin, name_of
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


#: Stands where there is no epoch, and no history.
NOBODY: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(slots=True)
class Standing:
    """A row as the site of a tip had seen it, and as the centre has it."""

    #: The version that it had seen, and whether that was a deletion; None where there was none.
    base: str | None = None
    was_deleted: bool = False
    #: The row's values with that version, as far as is known; None where there was no row.
    values: Mapping[str, Value] | None = None
    created_at: str = ""
    #: Its values as they are; None where no row stands.
    here: Mapping[str, Value] | None = None
    #: The tip's site has seen all versions up to this order, and none after it.
    seen_order: int = 0
    #: A later word of the same lost history came home before, or of a later life of the store.
    is_late: bool = False


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
    #: The last life of the server that the site has met: whose history its orders are of.
    history: str | None = None
    #: Rows of which their own change had been parked and took effect since; None of a site that
    #: does not say.
    took_effect: set[str] | None = None

    @property
    def of_several(self) -> bool:
        """Return whether other sites may tell of these rows, too."""
        return self.owner == SHARED or self.table.is_of_several

    def named(self, column: str) -> dict[str, Any]:
        """Return the rows' values of a column, by their ids; nothing where rows have none."""
        if column not in self.block.columns:
            return {}
        values = self.block.new[self.block.columns.index(column)]
        return {self.block.ids[place]: values[place] for place in self.places}

    def origin(self, place: int) -> Origin:
        """Return where a row came from, should it have to wait: of no transaction of its site's.

        It keeps its version then: what its site has written since is built on that. It gets a
        ticket of this life: what became of one of an earlier life says nothing of it.
        """
        version, row_id = self.block.version[place], self.block.ids[place]
        return Origin(
            site=self.site, epoch=NOBODY, n=0, tx_id=version, schema=0, hlc=0, offset_ms=0,
            stored_at_ms=self.life.started_ms,
            ticket=name_of(version, self.table.name, row_id, self.life.id, "home"),
        )  # fmt: skip

    def took_effect_here(self) -> dict[str, str]:
        """Return the versions of the rows that had been parked and took effect, by their ids."""
        took = self.took_effect or ()
        ids, versions = self.of(self.block.ids), self.of(self.block.version)
        return {i: v for i, v in zip(ids, versions, strict=True) if i in took}

    def of(self, column: Sequence[Any]) -> list[Any]:
        """Return the rows' values of one of the block's lists."""
        return [column[place] for place in self.places]


async def known_of(applying: Applying, tips: Tips) -> set[str]:
    """Return the rows of whose version the centre knows what became, or what it waits for.

    It is in what stands, or was overruled; or it is of a transaction that was applied, whatever
    the centre made of it: a store that went back to a copy, and has not followed since, shows it as
    it wrote it. But for what waits here and took effect in the lost time, as the site has heard:
    also where it waits since it came home before, which is noted as a version.
    """
    cursor = await applying.connection.execute(
        b"""SELECT k.id::text
            FROM unnest(%(ids)s::uuid[], %(versions)s::uuid[], %(orders)s::bigint[])
                AS k (id, version, ord)
            WHERE EXISTS (
                SELECT FROM sync.version AS v WHERE v.site_id = %(site)s
                AND v.table_no = %(table_no)s AND v.id = k.id AND v.version = k.version
                AND (v.ord >= %(order)s OR NOT (k.id = ANY(%(took)s::uuid[]) AND EXISTS (
                    SELECT FROM sync.waiting AS w WHERE w.site_id = %(site)s AND w.n = 0
                    AND w.table_name = %(table)s AND w.row_id = k.id::text
                    AND w.tx_id = k.version))))
            OR EXISTS (  -- it was refused since, and not noted: another version has that place
                SELECT FROM sync.waiting AS w WHERE w.n = 0 AND w.stored_at_ms >= %(began_ms)s
                AND w.site_id = %(site)s AND w.table_name = %(table)s
                AND w.row_id = k.id::text AND w.tx_id = k.version)
            OR %(says)s AND k.ord = 0 AND EXISTS (
                SELECT FROM sync.applied AS a WHERE a.tx_id = k.version AND a.site = %(teller)s)
            AND NOT (k.id = ANY(%(took)s::uuid[]) AND EXISTS (
                SELECT FROM sync.waiting AS w WHERE w.site_id = %(teller)s
                AND w.table_name = %(table)s AND w.row_id = k.id::text AND w.tx_id = k.version))""",
        given(applying, tips) | {
            "versions": array(Kind.UUID, tips.of(tips.block.version)),
            "orders": array(Kind.INTEGER, tips.of(tips.block.order)),
            "began_ms": tips.life.started_ms,
            "says": tips.took_effect is not None,
            "took": array(Kind.UUID, sorted(tips.took_effect or ())),
            "teller": tips.site,
            "table": tips.table.name,
        },
    )  # fmt: skip
    return {each for (each,) in await cursor.fetchall()}


def given(applying: Applying, tips: Tips) -> dict[str, Any]:
    """Return what the statements take."""
    return {
        "site": applying.site,
        "table_no": applying.no(tips.table),
        "ids": array(Kind.UUID, tips.of(tips.block.ids)),
        "order": tips.life.order_here,
    }


# What a site brings home of a history of which another one has brought an earlier word is built on
# that, where nothing else was written before it came. What a site brings home of its own rows a
# second time is from an older copy of its store, where it tells what the first time told of: its
# transactions, or decisions of a history whose orders are void to whom it told of all.
_STANDING: Final = b"""
SELECT h.id::text, h.deleted, b.version::text, b.op = 'D',
       to_char(h.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
       s.ord, coalesce(t.lost_ord >= k.lost_ord AND k.lost_ord > 0, false) OR EXISTS (
           SELECT FROM sync.tip AS o WHERE %(is_own)s AND o.site_id = h.site_id
           AND o.table_no = h.table_no AND o.id = h.id AND o.ord > %(order)s
           AND (k.lost_ord > 0 AND (o.lost_ord = 0 OR o.lost_ord >= k.lost_ord) OR EXISTS (
               SELECT FROM sync.included AS i
               WHERE i.site = h.site_id AND i.tx_id = k.version)))
FROM (SELECT * FROM sync.head WHERE site_id = %(site)s AND table_no = %(table_no)s
      AND id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE) AS h
JOIN unnest(%(ids)s::uuid[], %(lost)s::bigint[], %(versions)s::uuid[])
    AS k (id, lost_ord, version) ON k.id = h.id
LEFT JOIN sync.tip AS t
    ON t.site_id = h.site_id AND t.table_no = h.table_no AND t.id = h.id
    AND t.history = %(history)s::uuid
CROSS JOIN LATERAL (
    SELECT CASE WHEN t.lost_ord < k.lost_ord AND NOT EXISTS (
        SELECT FROM sync.version AS v
        WHERE v.site_id = h.site_id AND v.table_no = h.table_no AND v.id = h.id
          AND v.ord > %(order)s AND v.ord < t.ord) THEN t.ord ELSE %(order)s END AS ord) AS s
LEFT JOIN LATERAL (
    SELECT version, op FROM sync.version AS v
    WHERE v.site_id = h.site_id AND v.table_no = h.table_no AND v.id = h.id
      AND v.ord <= s.ord AND (v.counts OR NOT v.lost)  -- a note of what waits took no effect
    ORDER BY v.ord DESC LIMIT 1) AS b ON true"""


async def standing_of(applying: Applying, tips: Tips) -> dict[str, Standing]:
    """Hold the heads of the rows, and return them as the tips' site has seen them."""
    found = {each: Standing(seen_order=tips.life.order_here) for each in tips.of(tips.block.ids)}
    asked = {
        "lost": array(Kind.INTEGER, tips.of(tips.block.order)),
        "history": tips.history if tips.of_several else None,
        "versions": array(Kind.UUID, tips.of(tips.block.version)),
        "is_own": not tips.of_several,
    }
    cursor = await applying.connection.execute(_STANDING, given(applying, tips) | asked)
    stands: dict[str, str] = {}
    for each, is_deleted, base, was_deleted, created, order, is_late in await cursor.fetchall():
        found[each] = Standing(
            base, bool(was_deleted), None, created, seen_order=order, is_late=is_late
        )
        if not is_deleted:
            stands[each] = created
    for each, values in await values_of(applying, tips.table, stands):
        found[each].here = values
    held = [each for each, s in found.items() if s.base is not None and not s.was_deleted]
    for each in held:
        found[each].values = found[each].here
    for each, replaced in await _replaced(applying, tips, found):
        if each in held:
            found[each].values = {**(found[each].values or {}), **replaced}
    return found


async def values_of(
    applying: Applying, table: Table, created: Mapping[str, str]
) -> list[tuple[str, dict[str, Value]]]:
    """Return what rows hold that stand, given by their ids with their ``created_at``."""
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


async def _replaced(
    applying: Applying, tips: Tips, found: Mapping[str, Standing]
) -> list[tuple[str, dict[str, Value]]]:
    """Return what clients of the centre have written over since: what was there before."""
    names, table = tips.table.names, tips.table
    kept = by_names_now(table, "v.replaced")
    listed = kept_expressions(table, kept, "r")
    text = (
        f"SELECT v.id::text, ARRAY(SELECT jsonb_object_keys({kept})), "
        f"{listed} FROM unnest(%(ids)s::uuid[], %(seen)s::bigint[]) AS k (id, seen)"
        " JOIN sync.version AS v ON v.id = k.id AND v.ord > k.seen"
        f" CROSS JOIN LATERAL jsonb_populate_record(NULL::mes.{table.name}, {kept}) AS r"
        " WHERE v.site_id = %(site)s AND v.table_no = %(table_no)s"
        " AND v.replaced IS NOT NULL ORDER BY v.id, v.ord DESC"
    )
    seen = [found[each].seen_order for each in tips.of(tips.block.ids)]
    cursor = await applying.connection.execute(
        text.encode(), given(applying, tips) | {"seen": array(Kind.INTEGER, seen)}
    )
    # The earliest comes last: what it replaced is what the backup had.
    before: dict[str, dict[str, Value]] = defaultdict(dict)
    for each, keys, *values in await cursor.fetchall():
        before[each] |= {
            name: value for name, value in zip(names, values, strict=True) if name in keys
        }
    return list(before.items())
