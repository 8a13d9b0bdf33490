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
    from collections.abc import Mapping

    from central.store.applying import Applying
    from central.store.held import Standing, Tips
    from shared.catalog import Table
    from shared.changes import Value

#: What PostgreSQL raises of a client's write that it does not take.
_REFUSED: Final = (
    *ROWS_AT_FAULT, psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException,
)  # fmt: skip
#: Who writes what two sites have told alike.
_CONFIRMED: Final = "mes-central"


@dataclass(frozen=True, slots=True)
class Withheld:
    """What of one row is not taken."""

    told: Mapping[str, Value]
    #: What the backup holds in these columns; None where it has no row.
    held: Mapping[str, Value] | None
    #: Nothing of the row is taken, not only whom it is for.
    is_whole: bool


def withheld_of(tips: Tips, found: Mapping[str, Standing]) -> dict[str, Withheld]:
    """Return what of the rows of others is not taken, by their ids. Pure."""
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
        held = standing.values or standing.here
        news = {
            name: value
            for name, value in told.items()
            if (is_whole or (standing.here is not None and name in table.share))
            and (held is None or held.get(name) != value)
        }
        if is_whole or news:
            before = None if held is None else {name: held.get(name) for name in news}
            withheld[row_id] = Withheld(news, before, is_whole)
    return withheld


async def keep_withheld(applying: Applying, tips: Tips, withheld: Mapping[str, Withheld]) -> None:
    """Keep what was not taken, once for each version of a row, however many sites tell of it.

    Of what a site told that gets the row more is taken: then no more than the rest is kept.
    """
    versions = dict(zip(tips.of(tips.block.ids), tips.of(tips.block.version), strict=True))
    orders = dict(zip(tips.of(tips.block.ids), tips.of(tips.block.order), strict=True))
    kept = {row_id: each for row_id, each in withheld.items() if each.told}
    await applying.connection.execute(
        b"""INSERT INTO sync.withheld AS w (id, site, owner, table_name, row_id, version, history,
                                            lost_ord, told, held, is_whole)
            SELECT k.id, %(teller)s, %(owner)s, %(table)s, k.row_id, k.version, %(history)s,
                   k.lost_ord, k.told::jsonb, k.held::jsonb, k.is_whole
            FROM unnest(%(ids)s::uuid[], %(rows)s::uuid[], %(versions)s::uuid[],
                        %(orders)s::bigint[], %(told)s::text[], %(held)s::text[],
                        %(whole)s::boolean[])
                AS k (id, row_id, version, lost_ord, told, held, is_whole)
            ON CONFLICT (id) DO UPDATE
            SET told = excluded.told, held = excluded.held, is_whole = excluded.is_whole
            WHERE w.state = 'open' AND w.told @> excluded.told""",
        {
            "teller": tips.site, "owner": tips.owner, "table": tips.table.name,
            "history": tips.history or NOBODY,
            "ids": array(Kind.UUID, [name_of(versions[i], tips.table.name, i) for i in kept]),
            "rows": array(Kind.UUID, list(kept)),
            "versions": array(Kind.UUID, [versions[each] for each in kept]),
            "orders": array(Kind.INTEGER, [orders[each] for each in kept]),
            "told": array(Kind.TEXT, [kept_as(each.told) for each in kept.values()]),
            "held": array(Kind.TEXT, [kept_as(each.held) for each in kept.values()]),
            "whole": array(Kind.BOOLEAN, [each.is_whole for each in kept.values()]),
        },
    )  # fmt: skip


def kept_as(values: Mapping[str, Value] | None) -> str | None:
    """Return values as JSON that PostgreSQL takes, whatever a site tells. Pure."""
    text = as_json(values)
    return None if text is None else text.replace("\\u0000", "\ufffd")


async def confirm(applying: Applying, tips: Tips, taken: Mapping[str, str]) -> None:
    """Settle what others told before of rows of which their own site tells now.

    Where it tells the same version, and the rest came home by the others, it confirms what waits;
    that stays for a person where somebody wrote the same columns since. Else its row came home as
    it tells it: what waits is in that, unless it is of a later word.
    """
    if tips.owner != tips.site or not tips.of_several or tips.block.fate is not Fate.PUT:
        return
    cursor = await applying.connection.execute(
        b"""SELECT w.id::text, w.row_id::text, w.told, w.held, w.version = k.version
            FROM sync.withheld AS w
            JOIN unnest(%(ids)s::uuid[], %(versions)s::uuid[], %(orders)s::bigint[])
                AS k (id, version, ord) ON k.id = w.row_id
            WHERE w.owner = %(owner)s AND w.table_name = %(table)s AND w.state = 'open'
              AND (w.version = k.version OR (w.lost_ord <= k.ord AND w.history = %(history)s))
            ORDER BY w.lost_ord FOR UPDATE OF w""",
        {
            "ids": array(Kind.UUID, tips.of(tips.block.ids)),
            "versions": array(Kind.UUID, tips.of(tips.block.version)),
            "orders": array(Kind.INTEGER, tips.of(tips.block.order)),
            "owner": tips.owner, "table": tips.table.name, "history": tips.history or NOBODY,
        },
    )  # fmt: skip
    home = []
    for each, row_id, told, held, is_same in await cursor.fetchall():
        if row_id in taken or not is_same or await _written(applying, tips, row_id, told, held):
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
    except (*_REFUSED, ValueError, NotAuthorised):
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
