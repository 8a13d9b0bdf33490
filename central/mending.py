"""What is merged of facts, made anew where something of it went: a few keys at a time.

Until then reports read the facts of these keys (``central.unions``), so nobody waits for it. Facts
in the archive are read from their files, of the months that the keys touch; where they can't be
reached the keys stay as they are, and so they do while something of them waits to be folded.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from central import metrics
from central.archive_contents import ArchiveAway, ArchiveDamaged
from central.archive_loading import all_facts, hold_months
from central.rollups import FOLDING
from central.unions import (
    UNIONS,
    mend_statement,
    months_of_keys,
    to_mend_statement,
)
from shared.errors import StoreBusy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from psycopg import AsyncConnection

    from central.archive_loading import Shelf
    from central.unions import Union

_log = logging.getLogger(__name__)

#: Keys that one transaction mends.
MEND_KEYS: Final = 500


async def mend(connection: AsyncConnection[Any], shelf: Shelf | None = None) -> int:
    """Make stale keys anew out of the facts, some at a time; return how many were.

    Nobody who applies facts waits for it. Where the archive of a site can't be read, that is told
    in the log, and the others have their turn. ``connection`` must be in autocommit mode, as
    mes_ingest.
    """
    mended = 0
    for union in UNIONS:
        cursor = await connection.execute(
            f"SELECT DISTINCT site_id FROM mes.{union.name} WHERE is_stale ORDER BY 1".encode()
        )
        for (site,) in await cursor.fetchall():
            try:
                while some := await _mend_some(connection, union, site, shelf):
                    mended += some
            except (ArchiveAway, ArchiveDamaged, StoreBusy) as why:
                _log.warning("%s of %s is mended later: %s", union.name, site, why)
        cursor = await connection.execute(
            f"SELECT count(*) FROM mes.{union.name} WHERE is_stale".encode()
        )
        for (stale,) in await cursor.fetchall():
            metrics.STALE.labels(union.name).set(stale)
    return mended


async def _mend_some(
    connection: AsyncConnection[Any], union: Union, site: str, shelf: Shelf | None
) -> int:
    async with connection.transaction():
        await hold_months(connection, site)
        given = await _some_keys(connection, union, site)
        if not given:
            return 0
        # Files are read before anybody waits. What is archived stays as it is until we are through.
        archived = {f"{month:%Y-%m}" for month in await _months(connection, union, given)}
        source = await all_facts(connection, shelf, union.table, site, archived)
        await connection.execute(f"SELECT pg_advisory_xact_lock({FOLDING})".encode())
        # Once more: what was folded meanwhile may be of another month.
        months = _made_in(await _months(connection, union, given))
        facts = f"(SELECT * FROM {source} AS f WHERE site_id = %(site)s AND {months})"
        cursor = await connection.execute(mend_statement(union, facts).encode(), given)
        row = await cursor.fetchone()
        if mended := int(row[0]) if row else 0:
            await connection.execute("SELECT sync.count_change(%s, 'kept')", [site])
        return mended


async def _some_keys(connection: AsyncConnection[Any], union: Union, site: str) -> dict[str, Any]:
    """Return some keys that can be mended now, as parameters; none where there are none."""
    cursor = await connection.execute(
        to_mend_statement(union).encode(), {"site": site, "most": MEND_KEYS}
    )
    found = await cursor.fetchall()
    if not found:
        return {}
    names = [key.name for key in union.keys]
    keys = dict(zip(names, map(list, zip(*found, strict=True)), strict=True))
    return {"site": site, "sites": [site], **keys}


async def _months(
    connection: AsyncConnection[Any], union: Union, given: dict[str, Any]
) -> list[date]:
    cursor = await connection.execute(months_of_keys(union).encode(), given)
    return [month for (month,) in await cursor.fetchall()]


def _made_in(months: Iterable[date]) -> str:
    """Return the condition of facts that were made in some months, as partitions are left out by.

    Of no month there is none.
    """
    spans = [
        f"created_at >= '{month}T00:00Z'::timestamptz AND created_at <"
        f" '{(month.replace(day=1) + timedelta(days=32)).replace(day=1)}T00:00Z'::timestamptz"
        for month in months
    ]
    return f"({' OR '.join(spans) or 'false'})"
