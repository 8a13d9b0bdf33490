"""What the centre had decided and lost comes home from the sites that know it (protocol, rule 20).

After the restore of an older backup, a site's store shows rows as the lost history left them. Each
such row is that history's last word on it, its *tip*. It is taken as one write made at the moment
of the restore, by someone who had seen the row as the backup has it: where nobody wrote it since,
it stands, under the version that it had, so that what was built on it at the site is not in
conflict. Where somebody did, the policies decide and the history keeps both. So nothing new decides
here; the rows go through the same groups as what sites send.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from central.canonical import column_expressions
from central.partitions import Partition
from central.store.changeset import Origin, Rows
from central.store.finish import finish_alone
from central.store.groups import apply_group
from central.store.literals import array
from central.store.lives import life_of
from central.store.parking import park
from central.store.statements import target
from shared.catalog import Kind
from shared.changes import SHARED, ChangeBlock, Fate, HeadBlock, Op
from shared.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

    from central.store.applying import Applying
    from central.store.lives import Life
    from central.store.session import Session
    from shared.catalog import Column, Table
    from shared.changes import Value


@dataclass(slots=True)
class _Standing:
    """A row as the centre has it."""

    #: The version that the backup held, and whether that was a deletion; None where it held none.
    base: str | None = None
    was_deleted: bool = False
    #: The row's values as the backup had them, as far as is known; None where there was no row.
    values: Mapping[str, Value] | None = None
    created_at: str = ""


async def take_home(
    session: Session, site: str, life: str, blocks: Iterable[HeadBlock]
) -> dict[str, int]:
    """Take in tips that a site knows, those that are known already left out; return the counts.

    ``life`` is the first one that the site had not met: what was written since its beginning it
    can't have seen.
    """
    since = await session.transaction(partial(_life, life))
    counts = {"rows": 0, "parked": 0}
    for told in blocks:
        if told.table not in session.catalog or session.catalog.table(told.table).fact:
            continue
        table = session.catalog.table(told.table)
        block = told if told.fate is Fate.PUT else await _named(session, site, told)
        for owner in sorted(set(block.sites)):
            if not _has_say(table, site, owner):
                continue
            places = [row for row, each in enumerate(block.sites) if each == owner]
            done = await _take(session, _Tips(table, site, owner, block, places, since))
            counts = {name: counts[name] + done[name] for name in counts}
    return counts


async def _life(life: str, connection: AsyncConnection[Any]) -> Life:
    found = await life_of(connection, life)
    if found is None:
        raise MalformedMessage(f"the centre has had no life {life}")
    return found


def _has_say(table: Table, site: str, owner: str) -> bool:
    """Return whether a row is one that the site gets: else it can't know it."""
    return owner in (site, SHARED) or bool(owner and table.share != ("site_id",))


async def _named(session: Session, site: str, block: HeadBlock) -> HeadBlock:
    """Return the rows of which only the id is left with the keys that the centre knows of them."""

    async def read(connection: AsyncConnection[Any]) -> list[tuple[str, str, str]]:
        cursor = await connection.execute(
            b"""SELECT h.id::text, h.site_id,
                       to_char(h.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
                FROM sync.head AS h JOIN sync.table_no AS t ON t.no = h.table_no
                WHERE t.name = %s AND h.site_id IN (%s, '*') AND h.id = ANY(%s::uuid[])""",
            [block.table, site, array(Kind.UUID, block.ids)],
        )
        return await cursor.fetchall()

    keys = {row_id: (owner, created) for row_id, owner, created in await session.transaction(read)}
    named = [keys.get(row_id, ("", "")) for row_id in block.ids]
    return replace(block, sites=[owner for owner, _ in named], created=[at for _, at in named])


@dataclass(slots=True)
class _Tips:
    """Rows of one table and owner, as a site knows them."""

    table: Table
    #: Who tells, and whose rows they are.
    site: str
    owner: str
    block: HeadBlock
    places: list[int]
    life: Life

    def of(self, column: Sequence[Any]) -> list[Any]:
        return [column[place] for place in self.places]


async def _take(session: Session, tips: _Tips) -> dict[str, int]:
    table = tips.table
    if table.partitioned:
        months = {created[:7] for created in tips.of(tips.block.created)}
        await session.make_partitions(Partition(table.name, tips.owner, m) for m in months)

    async def work(connection: AsyncConnection[Any]) -> tuple[Applying, dict[str, int]]:
        moment = await (await connection.execute(_NOW)).fetchone()
        applying = await session.applying(
            connection, tips.owner, now=moment[0] if moment else "", waiting=True
        )
        pieces = [rows for rows in await _rows(applying, tips) if rows.ids]
        refused = await apply_group(applying, pieces)
        await park(applying, refused)
        await _note_overruled(applying, tips, pieces)
        await _mark(applying, tips)
        await finish_alone(applying)
        rows = sum(map(len, pieces))
        return applying, {"rows": rows - len(refused), "parked": len(refused)}

    applying, counts = await session.transaction(work)
    session.learn(tips.owner, applying.tally)
    return counts


_NOW: Final = b"""SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


async def _note_overruled(applying: Applying, tips: _Tips, pieces: Sequence[Rows]) -> None:
    """Note the versions of tips that don't stand alone: before all that was written since.

    What the site wrote on top of one is then known to have seen it, and nothing later.
    """
    for rows in pieces:
        await applying.connection.execute(
            b"""INSERT INTO sync.version
                    (site_id, table_no, id, ord, version, op, mask, origin, at_ms, lost)
                SELECT %(site)s, %(table_no)s, k.id, %(order)s, k.version, %(op)s::"char",
                       %(mask)s, %(site)s, %(at_ms)s, true
                FROM unnest(%(ids)s::uuid[], %(versions)s::uuid[]) AS k (id, version)
                WHERE NOT EXISTS (
                    SELECT FROM sync.version AS v WHERE v.site_id = %(site)s
                    AND v.table_no = %(table_no)s AND v.id = k.id AND v.version = k.version)
                ON CONFLICT DO NOTHING""",
            {
                "site": applying.site, "table_no": applying.no(tips.table),
                "order": tips.life.order_here, "op": rows.op.value,
                "mask": tips.table.mask(column.name for column in rows.columns),
                "at_ms": tips.life.started_ms, "ids": array(Kind.UUID, rows.ids),
                "versions": array(Kind.UUID, rows.tx_ids),
            },
        )  # fmt: skip


async def _mark(applying: Applying, tips: _Tips) -> None:
    """Mark the versions that came home, but for the site's own: nobody else had seen them."""
    foreign = [
        version
        for version, order in zip(
            tips.of(tips.block.version), tips.of(tips.block.order), strict=True
        )
        if order
    ]
    await applying.connection.execute(
        b"""UPDATE sync.version SET lost = true
            WHERE site_id = %(site)s AND table_no = %(table_no)s AND id = ANY(%(ids)s::uuid[])
              AND ord > %(order)s AND version = ANY(%(versions)s::uuid[])""",
        {
            "site": applying.site, "table_no": applying.no(tips.table),
            "ids": array(Kind.UUID, tips.of(tips.block.ids)), "order": tips.life.order_here,
            "versions": array(Kind.UUID, foreign),
        },
    )  # fmt: skip


# --- from tips to writes ---------------------------------------------------------------------


async def _rows(applying: Applying, tips: _Tips) -> list[Rows]:
    """Return the tips that are not known yet as writes, by operation and columns."""
    found = await _standing(applying, tips)
    known = await _known(applying, tips)
    groups: dict[tuple[Op, tuple[str, ...]], list[tuple[int, dict[str, Value]]]] = defaultdict(list)
    names = [name for name in tips.block.columns if name in tips.table.names]
    at = {name: tips.block.columns.index(name) for name in names}
    for place in tips.places:
        row_id = tips.block.ids[place]
        if row_id in known:
            continue
        new = (
            {name: tips.block.new[at[name]][place] for name in names}
            if tips.block.fate is Fate.PUT
            else None
        )
        decided = _write(found[row_id], new)
        if decided is not None:
            op, columns = decided
            groups[op, columns].append((place, new or {}))
    return [_as_rows(tips, op, columns, some, found) for (op, columns), some in groups.items()]


def _write(
    standing: _Standing, new: Mapping[str, Value] | None
) -> tuple[Op, tuple[str, ...]] | None:
    """Return what brings a row from what the backup held to its tip; None where nothing does."""
    if new is None:
        return (Op.DELETE, ()) if standing.values is not None else None
    if standing.values is None:
        return Op.INSERT, tuple(new)
    held = standing.values
    return Op.UPDATE, tuple(name for name, value in new.items() if held.get(name) != value)


def _as_rows(
    tips: _Tips, op: Op, columns: tuple[str, ...],
    some: Sequence[tuple[int, dict[str, Value]]], found: Mapping[str, _Standing],
) -> Rows:  # fmt: skip
    block, count = tips.block, len(some)
    ids = [block.ids[place] for place, _ in some]
    standing = [found[each] for each in ids]
    new = [[values[name] for _, values in some] for name in columns]
    old = [[(each.values or {}).get(name) for each in standing] for name in columns]
    named: tuple[Column, ...] = tuple(tips.table.column(name) for name in columns)
    rows = Rows(
        tips.table,
        op,
        named,
        ids=ids,
        created=[
            each.created_at or block.created[place]
            for (place, _), each in zip(some, standing, strict=True)
        ],
        tx_ids=[block.version[place] for place, _ in some],
        hlc=[0] * count,
        at=[tips.life.started_ms] * count,
        clamped=[False] * count,
        base=[each.base for each in standing],
        after=[None] * count,
        new=new,
        old=old if op is Op.UPDATE else [],
    )
    sent = ChangeBlock(
        tips.table.name, op, columns, [tips.owner] * count, rows.created, ids,
        at=rows.at, base=rows.base, after=rows.after, new=new, old=rows.old,
    )  # fmt: skip
    origin = Origin(
        site=tips.site, epoch=_NOBODY, n=0, tx_id=_NOBODY, schema=0, hlc=0, offset_ms=0,
        stored_at_ms=tips.life.started_ms,
    )  # fmt: skip
    rows.came_from(sent, origin, range(count))
    return rows


#: A tip is of no transaction of a site's.
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"


# --- what the backup held --------------------------------------------------------------------


async def _known(applying: Applying, tips: _Tips) -> set[str]:
    """Return the rows whose version the centre knows: it is in what stands, or was overruled."""
    cursor = await applying.connection.execute(
        b"""SELECT DISTINCT k.id::text FROM unnest(%(ids)s::uuid[], %(versions)s::uuid[])
                AS k (id, version)
            JOIN sync.version AS v ON v.site_id = %(site)s AND v.table_no = %(table_no)s
                AND v.id = k.id AND v.version = k.version""",
        _given(applying, tips) | {"versions": array(Kind.UUID, tips.of(tips.block.version))},
    )
    return {each for (each,) in await cursor.fetchall()}


def _given(applying: Applying, tips: _Tips) -> dict[str, Any]:
    return {
        "site": applying.site,
        "table_no": applying.no(tips.table),
        "ids": array(Kind.UUID, tips.of(tips.block.ids)),
        "order": tips.life.order_here,
    }


async def _standing(applying: Applying, tips: _Tips) -> dict[str, _Standing]:
    """Hold the heads of the rows, and return them as the backup held them."""
    found = {each: _Standing() for each in tips.of(tips.block.ids)}
    cursor = await applying.connection.execute(
        b"""SELECT h.id::text, b.version::text, b.op = 'D',
                   to_char(h.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            FROM (SELECT * FROM sync.head WHERE site_id = %(site)s AND table_no = %(table_no)s
                  AND id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE) AS h
            LEFT JOIN LATERAL (
                SELECT version, op FROM sync.version AS v
                WHERE v.site_id = h.site_id AND v.table_no = h.table_no AND v.id = h.id
                  AND v.ord <= %(order)s ORDER BY v.ord DESC LIMIT 1) AS b ON true""",
        _given(applying, tips),
    )
    for each, base, was_deleted, created in await cursor.fetchall():
        found[each] = _Standing(base, bool(was_deleted), None, created)
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


async def _replaced(applying: Applying, tips: _Tips) -> list[tuple[str, dict[str, Value]]]:
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
    cursor = await applying.connection.execute(text.encode(), _given(applying, tips))
    # The earliest comes last: what it replaced is what the backup had.
    found: dict[str, dict[str, Value]] = defaultdict(dict)
    for each, keys, *values in await cursor.fetchall():
        found[each] |= {
            name: value for name, value in zip(names, values, strict=True) if name in keys
        }
    return list(found.items())
