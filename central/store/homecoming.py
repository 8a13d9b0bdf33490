"""What a site's homecoming leaves at the centre: that it was, and which transactions it told of.

Rows come home first, then the transactions that are in them: of these only the facts take effect
when they come again, and the rows that had not come home.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from central.store.literals import array
from shared.catalog import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection


@dataclass(frozen=True, slots=True)
class Told:
    """Who tells."""

    site: str
    #: Names the homecoming; None of an edge that does not.
    home: str | None = None


async def note_home(connection: AsyncConnection[Any], site: str) -> None:
    """Note that a site brings home, in this life of the server, what the centre had lost.

    With the first row that is taken: no feed tells that site of it, and an older copy of its store
    has not heard of it, also where it is put back before all is home.
    """
    await connection.execute(
        b"""UPDATE sync.site AS s SET home_no = l.no FROM (SELECT max(no) AS no FROM sync.life) AS l
            WHERE s.site = %s AND s.home_no < l.no""",
        [site],
    )


async def include(
    connection: AsyncConnection[Any], told: Told, *, epoch: str, links: Sequence[Sequence[Any]],
    rows: Sequence[Sequence[str]] = (),
) -> None:  # fmt: skip
    """Note transactions whose rows came home, by n, id and hash, and the rows of them that did not.

    In a transaction of the caller's: one that is known without these rows would never be applied
    to them. What a backup holds of an earlier homecoming, and this one does not tell, came home.
    """
    await try_again(connection, told, rows)
    ns, tx_ids, hashes = _columns(links)
    given = {
        "site": told.site, "epoch": epoch, "home": told.home, "n": array(Kind.INTEGER, ns),
        "tx_ids": array(Kind.UUID, tx_ids), "hash": array(Kind.BYTES, hashes),
    }  # fmt: skip
    await connection.execute(
        b"""DELETE FROM sync.again WHERE site = %(site)s AND tx_id = ANY(%(tx_ids)s::uuid[])
            AND (%(home)s::uuid IS NULL OR home IS DISTINCT FROM %(home)s::uuid)""",
        given,
    )
    await connection.execute(
        b"""INSERT INTO sync.included (site, epoch, n, tx_id, hash)
            SELECT %(site)s, %(epoch)s, i.n, i.tx_id, i.hash
            FROM unnest(%(n)s::bigint[], %(tx_ids)s::uuid[], %(hash)s::bytea[])
                AS i (n, tx_id, hash)
            ON CONFLICT DO NOTHING""",
        given,
    )


async def try_again(
    connection: AsyncConnection[Any], told: Told, rows: Sequence[Sequence[str]]
) -> None:
    """Note rows of transactions, by tx_id, table and id, that have not taken effect in them."""
    tx_ids, tables, row_ids = _columns(rows)
    await connection.execute(
        b"""INSERT INTO sync.again (site, tx_id, table_name, row_id, home)
            SELECT DISTINCT %(site)s, i.tx_id, i.table_name, i.row_id, %(home)s::uuid
            FROM unnest(%(tx_ids)s::uuid[], %(tables)s::text[], %(ids)s::text[])
                AS i (tx_id, table_name, row_id)
            ON CONFLICT (site, tx_id, table_name, row_id)
            DO UPDATE SET home = excluded.home, at = excluded.at""",
        {
            "site": told.site, "home": told.home, "tx_ids": array(Kind.UUID, tx_ids),
            "tables": array(Kind.TEXT, tables), "ids": array(Kind.TEXT, row_ids),
        },
    )  # fmt: skip


def _columns(lines: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Any], list[Any]]:
    first, second, third = ([line[place] for line in lines] for place in range(3))
    return first, second, third
