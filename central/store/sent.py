"""What a store that went back had sent first since the copy was taken, touch by touch.

The copy may hold writes in its logs that the store's lost life has drained since. They are in the
first transaction of that life that brings changes, under an id that the store never saw. So the
store asks of its own first one which of its rows that life has written, and when it touched them,
by the site's own clock: the same touch at the same millisecond is the same write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from central.store.literals import array
from central.store.times import from_json
from shared.catalog import ID, Kind
from shared.changes import Op
from shared.clock import stamp, wall_ms
from shared.values import rule_broken
from sync import codec
from sync.handshake import ANY_DRAIN, SentBefore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg import AsyncConnection

    from shared.catalog import Catalog, Table
    from shared.changes import ChangeBlock

    #: Table, owner and id.
    Named = tuple[str, str, str]
    #: A touch, and the epoch that was closed with it; None where that is not known or still open.
    Told = tuple[SentBefore, str | None]


@dataclass(frozen=True, slots=True)
class Beyond:
    """What a site's lost lives did beyond the fork."""

    site: str
    epoch: str
    n: int
    #: The store has all of theirs up to this clock.
    after_hlc: int = 0


async def sent_before(
    connection: AsyncConnection[Any], catalog: Catalog, beyond: Beyond, rows: Sequence[Named]
) -> list[Told]:
    """Return what the lost lives wrote first of these rows, which are told by their places.

    Only what the first drain wrote that wrote any of them, and the first of each epoch that was
    closed: the copy may be of the life in it. And what may be of any.
    """
    given: dict[str, Any] = {"site": beyond.site, "epoch": beyond.epoch, "n": beyond.n}
    first = await _one(connection, _FIRST, given)
    places = [place for place, (_, _, each) in enumerate(rows) if rule_broken(ID, each) is None]
    given |= {
        "first": max(first[0], beyond.after_hlc + 1) if first and first[0] else None,
        "places": places,
        "tables": [rows[place][0] for place in places],
        "owners": [rows[place][1] for place in places],
        "ids": array(Kind.UUID, [rows[place][2] for place in places]),
    }
    tables = {name: catalog.table(name) for name, *_ in rows if name in catalog}
    found = [
        *await _versions(connection, tables, given, rows),
        *await _waiting(connection, tables, given),
    ]
    return [
        *_first_of_each([told for told in found if told[0].hlc > beyond.after_hlc]),
        *((each, None) for each in await _of_unknown_time(connection, tables, given, rows)),
    ]


def _first_of_each(found: Sequence[Told]) -> Iterator[Told]:
    """Give what the first of all drains told, and the first of each epoch that is known."""
    first: dict[str | None, int] = {}
    for each, epoch in found:
        first[epoch] = min(first.get(epoch, each.hlc), each.hlc)
    earliest = min(first.values(), default=0)
    for each, epoch in found:
        if each.hlc == earliest or (epoch is not None and each.hlc == first[epoch]):
            yield each, epoch


# Epochs beyond the fork, and where they begin to be.
_EPOCHS: Final = b"""(
    SELECT e.site, e.epoch, e.opened_at, e.closed_at_n,
           CASE WHEN e.epoch = o.epoch THEN %(n)s ELSE 0 END AS n
    FROM sync.epoch AS o JOIN sync.epoch AS e
        ON e.site = o.site AND (e.epoch = o.epoch OR e.opened_at > o.opened_at)
    WHERE o.site = %(site)s AND o.epoch = %(epoch)s::uuid)"""

_FIRST: Final = (
    b"""SELECT min(f.hlc) FROM """
    + _EPOCHS
    + b""" AS e CROSS JOIN LATERAL (
        SELECT a.hlc FROM sync.applied AS a
        WHERE a.site = e.site AND a.epoch = e.epoch AND a.n > e.n ORDER BY a.n LIMIT 1) AS f"""
)

_ASKED: Final = b"""unnest(%(places)s::int[], %(tables)s::text[], %(owners)s::text[],
    %(ids)s::uuid[]) AS k (place, table_name, owner, id)"""

# Of each epoch the first. What has moved on with its store is of the epoch that it was sent in
# first; a version may have an id of its own, and the clock is its drain's. Of a change that was
# parked and overruled and then applied the last version has all columns. OFFSET 0 has the index
# used: before the fork lie the drains of a year.
_VERSIONS: Final = (
    b"""WITH drain AS MATERIALIZED (
        SELECT DISTINCT ON (a.hlc) a.hlc, a.epoch, a.offset_ms FROM """
    + _EPOCHS
    + b""" AS e CROSS JOIN LATERAL (
            SELECT * FROM sync.applied AS a
            WHERE a.site = e.site AND a.epoch = e.epoch AND a.n > e.n OFFSET 0) AS a
        ORDER BY a.hlc, e.opened_at, a.n)
    SELECT DISTINCT ON (k.place, d.epoch) k.place, d.epoch::text, d.offset_ms,
        v.hlc, v.op::text, v.mask, v.at_ms, v.clamped, v.times
    FROM """
    + _ASKED
    + b""" JOIN sync.table_no AS t ON t.name = k.table_name
    JOIN sync.version AS v ON v.site_id = k.owner AND v.table_no = t.no AND v.id = k.id
    LEFT JOIN drain AS d ON d.hlc = v.hlc
    WHERE v.origin = %(site)s AND v.lost AND v.hlc >= %(first)s
    ORDER BY k.place, d.epoch, v.hlc, v.ord DESC"""
)


async def _versions(
    connection: AsyncConnection[Any], tables: Mapping[str, Table], given: Mapping[str, Any],
    rows: Sequence[Named],
) -> list[Told]:  # fmt: skip
    cursor = await connection.execute(_VERSIONS, given)
    told: list[Told] = []
    for place, epoch, offset_ms, hlc, op, mask, *times in await cursor.fetchall():
        every = _every(tables[rows[place][0]]) if rows[place][0] in tables else mask
        touched = mask if op == Op.UPDATE else every
        told += ((each, epoch) for each in _touches(place, hlc, touched, times, offset_ms))
    return told


def _touches(
    place: int, hlc: int, mask: int, times: Sequence[Any], offset_ms: int | None
) -> Iterator[SentBefore]:
    """Give a version's touches by the site's own clock; until its drain where that is not known."""
    at_ms, clamped, others = times
    moments = [(each, *moment) for each, moment in from_json(others) or ()]
    rest = mask
    for each, *_ in moments:
        rest &= ~each
    for columns, at, is_clamped in [*moments, (rest, at_ms, clamped)]:
        if offset_ms is None or is_clamped:
            yield SentBefore(place, hlc, columns, wall_ms(hlc), is_exact=False)
        else:
            yield SentBefore(place, hlc, columns, at - offset_ms, is_exact=True)


def _every(table: Table) -> int:
    return (1 << len(table.names)) - 1


# --- what became no version ----------------------------------------------------------------------

_WAITING: Final = (
    b"""SELECT k.place, w.block, CASE WHEN e.closed_at_n IS NOT NULL THEN e.epoch::text END
    FROM """
    + _ASKED
    + b""" JOIN sync.waiting AS w
        ON w.site_id = %(site)s AND w.table_name = k.table_name AND w.row_id = k.id::text
    JOIN """
    + _EPOCHS
    + b""" AS e ON e.epoch = w.epoch AND w.n > e.n"""
)


async def _waiting(
    connection: AsyncConnection[Any], tables: Mapping[str, Table], given: Mapping[str, Any]
) -> list[Told]:
    """Return what is parked, as it was sent."""
    cursor = await connection.execute(_WAITING, given)
    told: list[Told] = []
    for place, packed, epoch in await cursor.fetchall():
        body = codec.decode_body(bytes(packed))
        for block in body.blocks:
            if block.table in tables and block.at:
                sent = _as_sent(place, body.hlc, tables[block.table], block)
                told += ((each, epoch) for each in sent)
    return told


def _as_sent(place: int, hlc: int, table: Table, block: ChangeBlock) -> Iterator[SentBefore]:
    ours = {name: bit for bit, c in enumerate(table.columns) for name in (*c.renamed_from, c.name)}
    bits = [ours.get(name) for name in block.columns]  # it is kept under the names of then
    left = sum(1 << bit for bit in bits if bit is not None)
    left = left if block.op is Op.UPDATE else _every(table)
    for mask, at_ms in (block.times[0] if block.times else None) or ():
        touched = [bit for at, bit in enumerate(bits) if mask >> at & 1 and bit is not None]
        columns = sum(1 << bit for bit in touched)
        left &= ~columns
        yield SentBefore(place, hlc, columns, at_ms, is_exact=True)
    yield SentBefore(place, hlc, left, block.at[0], is_exact=True)


# Of what a person discarded, and of what came home after a restore of the centre, nobody knows any
# more when it was touched: until it was drained, which the id of such a transaction tells.
_UNKNOWN: Final = (
    b"""SELECT k.place, a.hlc, NULL FROM """
    + _ASKED
    + b""" JOIN mes.sync_parked AS p ON p.site_id = %(site)s AND p.state = 'discarded'
        AND p.table_name = k.table_name AND p.row_id = k.id
    JOIN sync.applied AS a ON a.tx_id = p.tx_id
    JOIN """
    + _EPOCHS
    + b""" AS e ON e.site = a.site AND e.epoch = a.epoch AND a.n > e.n
    UNION ALL
    SELECT k.place, NULL, v.version::text FROM """
    + _ASKED
    + b""" JOIN sync.table_no AS t ON t.name = k.table_name
    JOIN sync.version AS v ON v.site_id = k.owner AND v.table_no = t.no AND v.id = k.id
    JOIN sync.included AS i ON i.site = %(site)s AND i.tx_id = v.version
    JOIN """
    + _EPOCHS
    + b""" AS e ON e.epoch = i.epoch AND i.n > e.n
    WHERE NOT EXISTS (
        SELECT FROM (SELECT tx_id, site, epoch, n FROM sync.applied UNION ALL
                     SELECT tx_id, site, epoch, n FROM sync.included) AS k
        WHERE k.site = i.site AND k.tx_id = i.tx_id
        AND k.epoch = %(epoch)s::uuid AND k.n <= %(n)s)"""
)


async def _of_unknown_time(
    connection: AsyncConnection[Any], tables: Mapping[str, Table], given: Mapping[str, Any],
    rows: Sequence[Named],
) -> list[SentBefore]:  # fmt: skip
    cursor = await connection.execute(_UNKNOWN, given)
    told = []
    for place, hlc, tx_id in await cursor.fetchall():
        if rows[place][0] in tables:
            until_ms = wall_ms(hlc if tx_id is None else stamp(_made_ms(tx_id)))
            every = _every(tables[rows[place][0]])
            told.append(SentBefore(place, ANY_DRAIN, every, until_ms, is_exact=False))
    return told


def _made_ms(tx_id: str) -> int:
    """Return when an id was made: it begins with that (RFC 9562, version 7)."""
    return int(tx_id.replace("-", "")[:12], 16)


async def _one(
    connection: AsyncConnection[Any], query: bytes, given: Mapping[str, Any]
) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = await (await connection.execute(query, given)).fetchone()
    return row
