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
from typing import TYPE_CHECKING, Any, Final

from central.canonical import sites_of
from central.partitions import Partition
from central.store.changeset import Rows, Segment
from central.store.finish import finish_alone
from central.store.groups import apply_group
from central.store.held import NOBODY, Standing, Tips, known_of, standing_of, values_of
from central.store.homecoming import note_home
from central.store.literals import array
from central.store.parking import park
from central.store.records import queue_touched
from central.store.settled import settle_home, settle_tips
from central.store.withheld import confirm, confirmed_before, keep_withheld, withheld_of
from shared.catalog import Kind
from shared.changes import SHARED, ChangeBlock, Fate, HeadBlock, Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

    from central.store.applying import Applying
    from central.store.lives import Life
    from central.store.session import Session
    from shared.catalog import Column, Table
    from shared.changes import Value


@dataclass(frozen=True, slots=True)
class Teller:
    """What is known of a site that brings home."""

    site: str
    #: It has agreed with the centre in this life, and has no more say in rows of others.
    only_own: bool = False
    #: The last life of the server that it has met.
    history: str | None = None
    #: Tables and ids of its own changes that had been parked, and took effect since; None of an
    #: edge that does not say.
    took_effect: frozenset[tuple[str, str]] | None = None


async def take_home(
    session: Session, teller: Teller, since: Life, blocks: Iterable[HeadBlock]
) -> dict[str, int]:
    """Take in tips that a site knows, those that are known already left out; return the counts.

    ``since`` is the first life that the site had not met: what was written since its beginning it
    can't have seen.
    """
    site, took_effect = teller.site, teller.took_effect
    counts = {"rows": 0, "parked": 0}
    for told in blocks:
        if told.table not in session.catalog or session.catalog.table(told.table).fact:
            continue
        table = session.catalog.table(told.table)
        put = told.fate is Fate.PUT
        block = _by_our_names(table, told) if put else await _named(session, site, told)
        for owner in sorted(set(block.sites)):
            if not _has_say(table, site, owner, block.fate) or (teller.only_own and owner != site):
                continue
            places = [row for row, each in enumerate(block.sites) if each == owner]
            tips = Tips(table, site, owner, block, places, since, teller.history)
            if took_effect is not None:
                tips.took_effect = {row_id for name, row_id in took_effect if name == table.name}
            done = await _take(session, tips)
            counts = {name: counts[name] + done[name] for name in counts}
    return counts


def _by_our_names(table: Table, block: HeadBlock) -> HeadBlock:
    """Return rows by our names of columns, of which their site may know earlier or later ones.

    A value under a name that is none of ours would not come home. Tips hold all columns in the
    catalogue's order, in which a renamed one keeps its place: that tells a later name.
    """
    # Of two names of one column the later one counts: a store keeps what it has no column for under
    # the name that it came by, also where that name has changed since.
    there = {
        c.name: name
        for c in table.columns
        for name in (*c.renamed_from, c.name)
        if name in block.columns
    }
    ours = {name: here for here, name in there.items()}
    names = [ours.get(name, name) for name in block.columns]
    if len(names) >= len(table.names):
        names[: len(table.names)] = [
            here if there not in table.names and here not in names else there
            for here, there in zip(table.names, names, strict=False)
        ]
    return replace(block, columns=tuple(names))


def _has_say(table: Table, site: str, owner: str, fate: Fate) -> bool:
    """Return whether a site may tell of a row: of its own, and of what it gets of others.

    Never that one of others is gone: it may only have left the share.
    """
    if owner == site:
        return True
    shared = owner == SHARED or bool(owner and table.is_of_several)
    return shared and fate is Fate.PUT


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


async def _take(session: Session, tips: Tips) -> dict[str, int]:
    table = tips.table
    if table.partitioned:
        months = {created[:7] for created in tips.of(tips.block.created)}
        await session.make_partitions(Partition(table.name, tips.owner, m) for m in months)

    async def work(connection: AsyncConnection[Any]) -> tuple[Applying, dict[str, int]]:
        moment = await (await connection.execute(_NOW)).fetchone()
        applying = await session.applying(
            connection, tips.owner, now=moment[0] if moment else "", waiting=True
        )
        rows, parked = await _take_in(applying, tips)
        await finish_alone(applying)
        if rows or parked:
            await note_home(connection, tips.site)
        return applying, {"rows": rows, "parked": parked}

    applying, counts = await session.transaction(work)
    session.learn(tips.owner, applying.tally)
    return counts


async def _take_in(applying: Applying, tips: Tips) -> tuple[int, int]:
    """Apply tips; return how many rows were taken, and how many have to wait."""
    found = await standing_of(applying, tips)
    late = {row_id for row_id, standing in found.items() if standing.is_late}
    known = await known_of(applying, tips)
    withheld = withheld_of(tips, found, await confirmed_before(applying, tips))
    whole = {row_id for row_id, each in withheld.items() if each.is_whole}
    pieces = _rows(tips, found, known | whole)
    refused = await apply_group(applying, [rows.without(_places(rows, late)) for rows in pieces])
    await park(applying, refused)
    waits = {each.source.id for each in refused}
    await _note(applying, tips, pieces, waits)
    await _mark(applying, tips)
    await settle_tips(applying, tips)
    if tips.table.name == "sync_parked":
        await settle_home(applying, tips.named("state"))
    taken = {i: c for r in pieces for i, c in zip(r.ids, r.created, strict=True)}
    taken = {i: taken[i] for i in taken.keys() - late - waits}
    if tips.of_several:
        await _tell(applying, tips, found, taken)
    await _note_tips(applying, tips, taken)
    await keep_withheld(applying, tips, {i: withheld[i] for i in withheld.keys() - known - late})
    await confirm(applying, tips, taken)
    return sum(map(len, pieces)) - len(refused), len(refused)


def _places(rows: Rows, ids: set[str]) -> list[int]:
    return [place for place, row_id in enumerate(rows.ids) if row_id in ids]


async def _tell(
    applying: Applying, tips: Tips, found: Mapping[str, Standing], taken: Mapping[str, str]
) -> None:
    """Send what came home to all that get it.

    The site that told it takes a snapshot; but it is not the only one whose rows these are.
    """
    table, owner = tips.table, tips.owner
    shown = dict(await values_of(applying, table, taken))
    told = []
    for row_id, created in taken.items():
        states = (found[row_id].here, shown.get(row_id))
        sites = [sites_of(table, list(each.values()), owner) for each in states if each]
        if scopes := set().union(*sites):
            told.append((table, row_id, created, scopes))
    await queue_touched(applying, told)


async def _note_tips(applying: Applying, tips: Tips, taken: Iterable[str]) -> None:
    """Note which rows came home: of several sites, where their orders can be compared.

    Of a site's own an older copy of its store may tell once more, as they were before.
    """
    orders = dict(zip(tips.of(tips.block.ids), tips.of(tips.block.order), strict=True))
    compared = tips.history is not None
    known = [i for i in taken if not tips.of_several or (orders[i] and compared)]
    await applying.connection.execute(
        b"""INSERT INTO sync.tip AS t (site_id, table_no, id, ord, lost_ord, history)
            SELECT h.site_id, h.table_no, h.id, h.ord, k.lost_ord, %(history)s::uuid
            FROM unnest(%(ids)s::uuid[], %(orders)s::bigint[]) AS k (id, lost_ord)
            JOIN sync.head AS h
                ON h.site_id = %(site)s AND h.table_no = %(table_no)s AND h.id = k.id
            ON CONFLICT (site_id, table_no, id) DO UPDATE SET ord = excluded.ord,
                lost_ord = excluded.lost_ord, history = excluded.history, at = excluded.at""",
        {
            "site": applying.site, "table_no": applying.no(tips.table),
            "history": tips.history or NOBODY,
            "ids": array(Kind.UUID, known),
            "orders": array(Kind.INTEGER, [orders[each] for each in known]),
        },
    )  # fmt: skip


#: As in ``read_site``: who waits for a lock is we, not a program of the centre.
_NOW: Final = b"""SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    set_config('lock_timeout', '500ms', true)"""


async def _note(applying: Applying, tips: Tips, pieces: Sequence[Rows], refused: set[str]) -> None:
    """Note the versions of tips that don't stand alone: before all that was written since.

    What the site wrote on top of one is then known to have seen it, and nothing later. Of one that
    has to wait, also of one that waited in the backup, no more than its place is noted: it has
    changed nothing that anybody could have missed.
    """
    for rows in pieces:
        await applying.connection.execute(
            b"""INSERT INTO sync.version
                    (site_id, table_no, id, ord, version, op, mask, origin, at_ms, lost, counts)
                SELECT %(site)s, %(table_no)s, k.id, %(order)s, k.version,
                       CASE WHEN k.waits THEN 'U' ELSE %(op)s::"char" END,
                       CASE WHEN k.waits THEN 0 ELSE %(mask)s END, %(site)s, %(at_ms)s, true,
                       NOT k.waits
                FROM unnest(%(ids)s::uuid[], %(versions)s::uuid[], %(waits)s::boolean[])
                    AS k (id, version, waits)
                WHERE NOT EXISTS (
                    SELECT FROM sync.version AS v WHERE v.site_id = %(site)s
                    AND v.table_no = %(table_no)s AND v.id = k.id AND v.version = k.version
                    AND v.ord >= %(order)s)
                ON CONFLICT DO NOTHING""",
            {
                "site": applying.site, "table_no": applying.no(tips.table),
                "order": tips.life.order_here, "op": rows.op.value,
                "mask": tips.table.mask(column.name for column in rows.columns),
                "at_ms": tips.life.started_ms, "ids": array(Kind.UUID, rows.ids),
                "versions": array(Kind.UUID, rows.tx_ids),
                "waits": array(Kind.BOOLEAN, [each in refused for each in rows.ids]),
            },
        )  # fmt: skip


async def _mark(applying: Applying, tips: Tips) -> None:
    """Mark the versions that came home, but for the site's own: nobody else had seen them.

    Its own may have an order, too: one that was parked at the backup took effect since. Its clock
    is known then, which tells the order of the site's own writes.
    """
    foreign = [
        version
        for version, order in zip(
            tips.of(tips.block.version), tips.of(tips.block.order), strict=True
        )
        if order
    ]
    await applying.connection.execute(
        b"""UPDATE sync.version AS v SET lost = a.hlc IS NULL, hlc = coalesce(a.hlc, v.hlc)
            FROM unnest(%(versions)s::uuid[]) AS k (version)
            LEFT JOIN LATERAL (
                SELECT max(hlc) AS hlc FROM sync.applied
                WHERE tx_id = k.version AND site = %(teller)s) AS a ON true
            WHERE v.site_id = %(site)s AND v.table_no = %(table_no)s AND v.version = k.version
              AND v.id = ANY(%(ids)s::uuid[]) AND v.ord > %(order)s""",
        {
            "site": applying.site, "table_no": applying.no(tips.table), "teller": tips.site,
            "ids": array(Kind.UUID, tips.of(tips.block.ids)), "order": tips.life.order_here,
            "versions": array(Kind.UUID, foreign),
        },
    )  # fmt: skip


# --- from tips to writes ---------------------------------------------------------------------


def _rows(tips: Tips, found: Mapping[str, Standing], passed_over: set[str]) -> list[Rows]:
    """Return all tips but some as writes, by operation and columns."""
    groups: dict[tuple[Op, tuple[str, ...]], list[tuple[int, dict[str, Value]]]] = defaultdict(list)
    names = [name for name in tips.block.columns if name in tips.table.names]
    at = {name: tips.block.columns.index(name) for name in names}
    for place in tips.places:
        row_id = tips.block.ids[place]
        if row_id in passed_over:
            continue
        new = (
            {name: tips.block.new[at[name]][place] for name in names}
            if tips.block.fate is Fate.PUT
            else None
        )
        stands_for_others = tips.owner != tips.site and found[row_id].here is not None
        decided = _write(found[row_id], _of_others(tips, new) if stands_for_others else new)
        if decided is not None:
            op, columns = decided
            groups[op, columns].append((place, new or {}))
    return [_as_rows(tips, op, columns, some, found) for (op, columns), some in groups.items()]


def _of_others(tips: Tips, new: Mapping[str, Value] | None) -> dict[str, Value] | None:
    """Return what a site may tell of a row of others that stands: not who gets it."""
    return None if new is None else {c: v for c, v in new.items() if c not in tips.table.share}


def _write(
    standing: Standing, new: Mapping[str, Value] | None
) -> tuple[Op, tuple[str, ...]] | None:
    """Return what brings a row from what the backup held to its tip; None where nothing does."""
    if new is None:
        return (Op.DELETE, ()) if standing.values is not None else None
    held = standing.values
    if held is None:  # the backup had no row; one that stands came home before, or was made since
        held = standing.here
    if held is None:
        return Op.INSERT, tuple(new)
    return Op.UPDATE, tuple(name for name, value in new.items() if held.get(name) != value)


def _as_rows(
    tips: Tips, op: Op, columns: tuple[str, ...],
    some: Sequence[tuple[int, dict[str, Value]]], found: Mapping[str, Standing],
) -> Rows:  # fmt: skip
    block, count = tips.block, len(some)
    ids = [block.ids[place] for place, _ in some]
    standing = [found[each] for each in ids]
    new = [[values[name] for _, values in some] for name in columns]
    old = [[(each.values or each.here or {}).get(name) for each in standing] for name in columns]
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
    rows.segments = [
        Segment(row, sent, tips.origin(place), [row]) for row, (place, _) in enumerate(some)
    ]
    return rows
