"""Tells a site's own writes apart in a tip that came home, once they come again.

A tip is one write that brings a row from what the backup held to the end of the lost history, so it
has the columns of all who wrote the row in between. A store that went back since has some of its
own transactions in it, and no longer the last one: what it builds on those is in no conflict with
them. So a transaction that came home and comes again takes from the tip the columns in which the
tip has just what it wrote, and stands before it as a version of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from central.store.batch import merged
from central.store.fixed import fixed
from central.store.held import values_of
from central.store.literals import array
from central.store.times import as_json
from shared.catalog import Kind
from shared.changes import Op
from sync.policies import same

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from central.store.applying import Applying
    from central.store.changeset import Rows
    from shared.changes import Value

# Row by row by the key of the history, of whatever size both are.
_IN_TIPS: Final = b"""
SELECT k.table_no, k.id::text FROM unnest(%(table_nos)s::smallint[], %(ids)s::uuid[])
    AS k (table_no, id)
CROSS JOIN LATERAL (
    SELECT FROM sync.version AS v
    WHERE v.site_id = %(site)s AND v.table_no = k.table_no AND v.id = k.id
      AND v.origin = %(site)s AND v.lost AND v.hlc = 0 LIMIT 1) AS t"""

# The first tip that nobody has any more and that the write came before: a tip has no clock. The
# write may have been a tip as well, of the copy that its store went back to: it takes the place of
# that. A row that is to be applied again was in no tip.
_TIPS: Final = b"""
SELECT k.id::text, t.ord, CASE t.op WHEN 'U' THEN t.mask ELSE -1 END,
       coalesce(b.known_ord, p.ord + 1)
FROM unnest(%(ids)s::uuid[], %(versions)s::uuid[], %(bases)s::uuid[], %(afters)s::uuid[])
    AS k (id, version, base, after)
CROSS JOIN LATERAL (
    SELECT coalesce(max(v.ord) FILTER (WHERE v.version IN (k.base, k.after)), 0) AS ord,
           max(v.ord) FILTER (WHERE v.version = k.version) AS known_ord,
           bool_and(v.lost AND v.hlc = 0) FILTER (WHERE v.version = k.version) AS is_tip
    FROM sync.version AS v
    WHERE v.site_id = %(site)s AND v.table_no = %(table_no)s AND v.id = k.id) AS b
CROSS JOIN LATERAL (
    SELECT v.ord, v.mask, v.op FROM sync.version AS v
    WHERE v.site_id = %(site)s AND v.table_no = %(table_no)s AND v.id = k.id
      AND v.ord > greatest(b.ord, coalesce(b.known_ord, 0))
      AND v.origin = %(site)s AND v.lost AND v.hlc = 0 ORDER BY v.ord LIMIT 1) AS t
CROSS JOIN LATERAL (
    SELECT coalesce(max(v.ord), 0) AS ord FROM sync.version AS v
    WHERE v.site_id = %(site)s AND v.table_no = %(table_no)s AND v.id = k.id
      AND v.ord < t.ord) AS p
WHERE coalesce(b.is_tip, p.ord + 1 < t.ord) AND t.op <> 'D' AND NOT EXISTS (
    SELECT FROM sync.again AS a WHERE a.site = %(site)s AND a.tx_id = k.version
    AND a.table_name = %(table)s AND a.row_id = k.id::text)"""

_PUT_BEFORE: Final = b"""
WITH apart AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(tips)s::bigint[], %(left)s::bigint[],
        %(orders)s::bigint[], %(masks)s::bigint[], %(versions)s::uuid[], %(at)s::bigint[],
        %(hlc)s::bigint[], %(clamped)s::boolean[], %(times)s::text[])
        AS k (id, tip, left_mask, ord, mask, version, at_ms, hlc, clamped, times)
), tips AS (
    UPDATE sync.version AS v SET op = 'U', mask = k.left_mask FROM apart AS k
    WHERE v.site_id = %(site)s AND v.table_no = %(table_no)s AND v.id = k.id AND v.ord = k.tip)
INSERT INTO sync.version
    (site_id, table_no, id, ord, version, op, mask, origin, at_ms, hlc, clamped, times)
SELECT %(site)s, %(table_no)s, id, ord, version, %(op)s::"char", mask, %(site)s, at_ms, hlc,
       clamped, times::jsonb FROM apart
ON CONFLICT (site_id, table_no, id, ord) DO UPDATE SET op = excluded.op, mask = excluded.mask,
    lost = false, at_ms = excluded.at_ms, hlc = excluded.hlc, clamped = excluded.clamped,
    times = excluded.times"""


async def tell_apart(applying: Applying, pieces: Iterable[Rows]) -> None:
    """Have what was written that came home stand by itself, before the tip that it is in.

    Of what its store has lost since, or has never seen, the tip keeps the columns. ``pieces`` are
    of any number of transactions, in their order. Of most rows no tip stands, or none any more.
    """
    written = [rows for rows in pieces if rows.op is not Op.DELETE]
    in_tips = await _in_tips(applying, written) if written else set()
    for some in _turns(written, in_tips):
        for rows in merged(some):
            await _tell_apart(applying, rows)


async def _in_tips(applying: Applying, pieces: Sequence[Rows]) -> set[tuple[str, str]]:
    """Return table and id of the rows of which a tip stands that nobody has any more."""
    names = {applying.no(rows.table): rows.table.name for rows in pieces}
    asked = sorted({(applying.no(rows.table), each) for rows in pieces for each in rows.ids})
    given = {
        "site": applying.site,
        "table_nos": array(Kind.INTEGER, [no for no, _ in asked]),
        "ids": array(Kind.UUID, [each for _, each in asked]),
    }
    found = await (await applying.connection.execute(_IN_TIPS, given)).fetchall()
    return {(names[no], each) for no, each in found}


def _turns(pieces: Iterable[Rows], in_tips: Container[tuple[str, str]]) -> list[list[Rows]]:
    """Return what can be told apart at once: a write of each row, then the ones upon those."""
    turns: dict[int, list[Rows]] = defaultdict(list)
    writes: Counter[tuple[str, str]] = Counter()
    for rows in pieces:
        places: dict[int, list[int]] = defaultdict(list)
        for place, each in enumerate(rows.ids):
            row = rows.table.name, each
            if row in in_tips:
                places[writes[row]].append(place)
                writes[row] += 1
        for turn, some in places.items():
            turns[turn].append(rows.take(some))
    return [turns[turn] for turn in sorted(turns)]


async def _tell_apart(applying: Applying, rows: Rows) -> None:
    table, places = rows.table, {each: place for place, each in enumerate(rows.ids)}
    given: dict[str, Any] = {
        "site": applying.site, "table_no": applying.no(table), "table": table.name,
        "ids": array(Kind.UUID, rows.ids), "versions": array(Kind.UUID, rows.tx_ids),
        "bases": array(Kind.UUID, rows.base), "afters": array(Kind.UUID, rows.after),
    }  # fmt: skip
    execute = applying.connection.execute
    heads = await (await execute(fixed("lock_heads"), given)).fetchall()
    created = {each: at for each, _, _, is_deleted, at in heads if not is_deleted}
    tips = await (await execute(_TIPS, given)).fetchall() if created else []
    stands = dict(await values_of(applying, table, created)) if tips else {}
    found = []
    for each, tip, mask, order in tips:
        if each in stands:
            own = _written(rows, places[each], stands[each]) & mask
            left = mask & ((1 << len(table.columns)) - 1) & ~own
            found.append((places[each], tip, left, order, own))
    if found:
        await _put_before(applying, rows, found, given)


def _written(rows: Rows, place: int, stands: Mapping[str, Value]) -> int:
    """Return the columns in which a row has what the write gave it."""
    named = zip(rows.columns, rows.new, strict=True)
    return rows.table.mask(c.name for c, new in named if same(stands[c.name], new[place]))


async def _put_before(
    applying: Applying, rows: Rows, found: list[tuple[int, int, int, int, int]],
    given: Mapping[str, Any],
) -> None:  # fmt: skip
    places, tips, left, orders, masks = zip(*found, strict=True)
    some = rows.take(places)
    times = [as_json(each) for each in some.times or [None] * len(some)]
    await applying.connection.execute(
        _PUT_BEFORE,
        {
            **given, "op": rows.op.value, "ids": array(Kind.UUID, some.ids),
            "versions": array(Kind.UUID, some.tx_ids), "tips": array(Kind.INTEGER, tips),
            "left": array(Kind.INTEGER, left), "orders": array(Kind.INTEGER, orders),
            "masks": array(Kind.INTEGER, masks), "at": array(Kind.INTEGER, some.at),
            "hlc": array(Kind.INTEGER, some.hlc), "times": array(Kind.TEXT, times),
            "clamped": some.clamped,
        },
    )  # fmt: skip
