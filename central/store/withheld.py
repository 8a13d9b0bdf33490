"""What a site tells of rows of others, and is not taken on its word alone.

After a restore of the centre a site tells which rows it had. Where such a row is another's, and by
the backup this site does not get it, its word would give it what it may not see; and where it
tells that others get the row, its word would show them what they may not. Perhaps the centre had
decided so in the lost time: then this is all that is left of that. So it is kept aside, with what
stands, until the row's own site tells the same, or a person takes it (``central.withheld``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from central.acting import acting, stored
from central.canonical import sites_of
from central.store.applying import ROWS_AT_FAULT
from central.store.changeset import name_of
from central.store.held import NOBODY, values_of
from central.store.literals import array
from central.store.records import as_json
from shared.catalog import Kind
from shared.changes import SHARED, Fate
from shared.errors import NotAuthorised

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from central.store.applying import Applying
    from central.store.held import Standing, Tips
    from shared.catalog import Table
    from shared.changes import Value

#: Who writes what two sites have told alike.
_CONFIRMED: Final = "mes-central"


@dataclass(frozen=True, slots=True)
class Untaken:
    """What of one row is not taken."""

    told: Mapping[str, Value]
    #: What stands in these columns; None where no row does.
    held: Mapping[str, Value] | None
    #: Somebody wrote them since the restore.
    is_beside: bool
    #: Nothing of the row is taken, not only whom it is for.
    is_whole: bool


def withheld_of(
    tips: Tips, found: Mapping[str, Standing], confirmed: Collection[str] = ()
) -> dict[str, Untaken]:
    """Return what of the rows of others is not taken, by their ids. Pure.

    That is what the lost history wrote. Of rows of which an earlier word was ``confirmed`` since,
    also what it had written back.
    """
    if tips.owner == tips.site or not tips.of_several or tips.block.fate is not Fate.PUT:
        return {}
    table, withheld = tips.table, {}
    at = {n: place for place, n in enumerate(tips.block.columns) if n in table.names}
    for place in tips.places:
        row_id = tips.block.ids[place]
        standing = found[row_id]
        told = {name: tips.block.new[column][place] for name, column in at.items()}
        here = told if standing.here is None else standing.here
        gets = sites_of(table, [here.get(name) for name in table.names], tips.owner)
        is_whole = not {tips.site, SHARED} & gets
        stands, before = standing.here, standing.values or {}
        news = {
            name: value
            for name, value in told.items()
            if (is_whole or (stands is not None and name in table.share))
            and (stands is None or stands.get(name) != value)
            and (row_id in confirmed or name not in before or before[name] != value)
        }
        if is_whole or news:
            held = None if stands is None else {name: stands.get(name) for name in news}
            is_beside = held != {name: before.get(name) for name in news}
            withheld[row_id] = Untaken(news, held, is_beside, is_whole)
    return withheld


async def confirmed_before(applying: Applying, tips: Tips) -> set[str]:
    """Return the rows of which a word came home that is earlier than what is told now."""
    cursor = await applying.connection.execute(
        b"""SELECT w.row_id::text FROM sync.withheld AS w
            JOIN unnest(%(ids)s::uuid[], %(orders)s::bigint[]) AS k (id, ord) ON k.id = w.row_id
            WHERE w.owner = %(owner)s AND w.table_name = %(table)s AND w.state = 'home'
              AND w.history = %(history)s AND w.lost_ord > 0 AND w.lost_ord < k.ord""",
        {
            "ids": array(Kind.UUID, tips.of(tips.block.ids)),
            "orders": array(Kind.INTEGER, tips.of(tips.block.order)),
            "owner": tips.owner, "table": tips.table.name, "history": tips.history or NOBODY,
        },
    )  # fmt: skip
    return {row_id for (row_id,) in await cursor.fetchall()}


async def keep_withheld(applying: Applying, tips: Tips, withheld: Mapping[str, Untaken]) -> None:
    """Keep what was not taken, once for each version of a row, however many sites tell of it.

    Of what a site told that gets the row more is taken: then no more than the rest is kept. Of two
    words of one lost history the later stands, whoever tells it, and whether it was taken itself.
    """
    versions = dict(zip(tips.of(tips.block.ids), tips.of(tips.block.version), strict=True))
    orders = dict(zip(tips.of(tips.block.ids), tips.of(tips.block.order), strict=True))
    kept = {row_id: each for row_id, each in withheld.items() if each.told}
    whose = {"owner": tips.owner, "table": tips.table.name, "history": tips.history or NOBODY}
    await applying.connection.execute(
        _SUPERSEDE,
        whose | {
            "rows": array(Kind.UUID, list(orders)),
            "orders": array(Kind.INTEGER, list(orders.values())),
        },
    )  # fmt: skip
    await applying.connection.execute(
        _KEEP,
        whose | {
            "teller": tips.site,
            "ids": array(Kind.UUID, [name_of(versions[i], tips.table.name, i) for i in kept]),
            "rows": array(Kind.UUID, list(kept)),
            "versions": array(Kind.UUID, [versions[each] for each in kept]),
            "orders": array(Kind.INTEGER, [orders[each] for each in kept]),
            "told": array(Kind.TEXT, [kept_as(each.told) for each in kept.values()]),
            "held": array(Kind.TEXT, [kept_as(each.held) for each in kept.values()]),
            "beside": array(Kind.BOOLEAN, [each.is_beside for each in kept.values()]),
            "whole": array(Kind.BOOLEAN, [each.is_whole for each in kept.values()]),
        },
    )  # fmt: skip


_SUPERSEDE: Final = b"""
UPDATE sync.withheld AS w SET state = 'superseded', settled_at = now()
FROM unnest(%(rows)s::uuid[], %(orders)s::bigint[]) AS k (row_id, ord)
WHERE w.owner = %(owner)s AND w.table_name = %(table)s AND w.row_id = k.row_id
  AND w.state = 'open' AND w.history = %(history)s AND w.lost_ord > 0 AND w.lost_ord < k.ord"""
_KEEP: Final = b"""
INSERT INTO sync.withheld AS w (id, site, owner, table_name, row_id, version, history, lost_ord,
                                told, held, is_beside, is_whole)
SELECT k.id, %(teller)s, %(owner)s, %(table)s, k.row_id, k.version, %(history)s, k.lost_ord,
       k.told::jsonb, k.held::jsonb, k.is_beside, k.is_whole
FROM unnest(%(ids)s::uuid[], %(rows)s::uuid[], %(versions)s::uuid[], %(orders)s::bigint[],
            %(told)s::text[], %(held)s::text[], %(beside)s::boolean[], %(whole)s::boolean[])
    AS k (id, row_id, version, lost_ord, told, held, is_beside, is_whole)
WHERE NOT EXISTS (
    SELECT FROM sync.withheld AS o
    WHERE o.owner = %(owner)s AND o.table_name = %(table)s AND o.row_id = k.row_id
      AND o.history = %(history)s AND k.lost_ord > 0 AND o.lost_ord > k.lost_ord)
ON CONFLICT (id) DO UPDATE SET told = excluded.told, held = excluded.held,
    is_beside = excluded.is_beside, is_whole = excluded.is_whole
WHERE w.state = 'open' AND w.told @> excluded.told"""


def kept_as(values: Mapping[str, Value] | None) -> str | None:
    """Return values as JSON that PostgreSQL takes, which knows no zero in a text. Pure."""
    plain = {
        name: value.replace("\x00", "\ufffd") if isinstance(value, str) else value
        for name, value in (values or {}).items()
    }
    return None if values is None else as_json(plain)


async def confirm(applying: Applying, tips: Tips, taken: Mapping[str, str]) -> None:
    """Settle what others told before of the same versions of rows as their own site tells now.

    Either its row came home as it tells it, with what waits; or the rest came home by the others,
    and it confirms what waits. That stays for a person where somebody wrote it since the restore.
    """
    if tips.owner != tips.site or not tips.of_several or tips.block.fate is not Fate.PUT:
        return
    cursor = await applying.connection.execute(
        b"""SELECT w.id::text, w.row_id::text, w.told, w.held, w.is_beside
            FROM sync.withheld AS w
            JOIN unnest(%(ids)s::uuid[], %(versions)s::uuid[]) AS k (id, version)
                ON k.id = w.row_id AND k.version = w.version
            WHERE w.owner = %(owner)s AND w.table_name = %(table)s AND w.state = 'open'
            FOR UPDATE OF w""",
        {
            "ids": array(Kind.UUID, tips.of(tips.block.ids)),
            "versions": array(Kind.UUID, tips.of(tips.block.version)),
            "owner": tips.owner, "table": tips.table.name,
        },
    )  # fmt: skip
    home = []
    for each, row_id, told, held, is_beside in await cursor.fetchall():
        may = not is_beside
        if row_id in taken or (may and await _written(applying, tips, row_id, told, held)):
            home.append(each)
    await applying.connection.execute(
        b"UPDATE sync.withheld SET state = 'home', settled_at = now() WHERE id = ANY(%s::uuid[])",
        [array(Kind.UUID, home)],
    )


def as_told(table: Table, kept: Mapping[str, Any]) -> dict[str, Value]:
    """Return what a site told, as it is kept, by our names of columns. Pure."""
    told = {table.current_name(name): value for name, value in kept.items()}
    return {
        name: bytes.fromhex(value)
        if value is not None and table.column(name).type.kind is Kind.BYTES
        else value
        for name, value in told.items()
    }


async def _written(
    applying: Applying, tips: Tips, row_id: str, told: Mapping[str, Any],
    held: Mapping[str, Any] | None,
) -> bool:  # fmt: skip
    """Write what was confirmed, and return whether that was done.

    Not where the row is gone, or does not hold what it held; nor where PostgreSQL or a rule does
    not take it: whoever takes it is told why, and the homecoming goes on.
    """
    try:
        async with applying.savepoint():
            return await _write(applying, tips, row_id, told, held)
    except (*ROWS_AT_FAULT, ValueError, NotAuthorised):
        return False
    except psycopg.OperationalError:  # no matter of the row: all is tried again
        raise
    except psycopg.Error:
        return False


async def _write(
    applying: Applying, tips: Tips, row_id: str, told: Mapping[str, Any],
    held: Mapping[str, Any] | None,
) -> bool:  # fmt: skip
    """Write as a client of the centre does, so that all who get the row hear of it."""
    table = tips.table
    cursor = await applying.connection.execute(
        b"""SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            FROM sync.head
            WHERE site_id = %s AND table_no = %s AND id = %s AND NOT deleted FOR UPDATE""",
        [applying.site, applying.no(table), row_id],
    )
    head = await cursor.fetchone()
    here = dict(await values_of(applying, table, {row_id: head[0]})).get(row_id) if head else None
    before = as_told(table, held or {})
    if head is None or here is None or any(here[name] != was for name, was in before.items()):
        return False
    given = as_told(table, told)
    sets = [sql.SQL("{} = %s").format(sql.Identifier(name)) for name in given]
    statement = sql.SQL("UPDATE {} SET {} WHERE site_id = %s AND created_at = %s AND id = %s")
    values = [stored(table, name, value) for name, value in given.items()]
    async with acting(applying.connection, applying.site, _CONFIRMED):
        await applying.connection.execute(
            statement.format(sql.Identifier("mes", table.name), sql.SQL(", ").join(sets)),
            [*values, applying.site, head[0], row_id],
        )
    return True
