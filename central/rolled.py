"""Rollups held against the facts, made anew, and made to follow the sites' own days.

The facts are those in the table and those in the archive: where months of a site were archived,
their files are read, and where they can't be reached nothing is compared and nothing made anew.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import dict_row

from central import metrics
from central.archive_contents import ArchiveAway, ArchiveDamaged
from central.archive_loading import all_facts
from central.rollups import FOLDING, ROLLED, deltas_of
from central.unions import compare_statement, fold_statement, rebuild_statements
from shared.errors import StoreBusy
from shared.observe import note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import AsyncConnection

    from central.archive_loading import Shelf
    from central.rollups import Rollup
    from central.unions import Union

_log = logging.getLogger(__name__)

#: Deltas that one transaction folds.
FOLD_ROWS: Final = 50_000
#: Seconds between two looks for deltas: what gathers meanwhile is summed by each who reads.
FOLD_PAUSE_S: Final = 1.0

# Whose days are made otherwise than mes.sites has it by now. A site that is not registered has no
# facts. Rows of a site say nothing: else its planner would make the days of others by one.
_OTHERWISE: Final = b"""
SELECT s.code, s.timezone, s.business_day_start FROM mes.sites AS s
JOIN sync.site AS r ON r.site = s.code LEFT JOIN sync.site_day AS d ON d.site = s.code
WHERE s.site_id = '*' AND (coalesce(d.zone, 'UTC'), coalesce(d.day_start, '00:00'))
      IS DISTINCT FROM (s.timezone, s.business_day_start)
ORDER BY s.code"""

_FOLLOW: Final = b"""
INSERT INTO sync.site_day (site, zone, day_start) VALUES (%s, %s, %s)
ON CONFLICT (site) DO UPDATE SET zone = excluded.zone, day_start = excluded.day_start"""


async def differences(
    connection: AsyncConnection[Any], rollup: Rollup | Union, site: str, shelf: Shelf | None = None
) -> list[dict[str, Any]]:
    """Return the keys of a site's rollup that differ from its facts, with both values of each.

    What the facts come to has the name of the sum, what the rollup has ``kept_`` before it. Raise
    ArchiveAway where months of the site are in the archive, and not on the ``shelf``.
    """
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        source = await all_facts(connection, shelf, rollup.table, site)
        await cursor.execute(compare_statement(rollup, source).encode(), {"site": site})
        return await cursor.fetchall()


async def rebuild(connection: AsyncConnection[Any], site: str, shelf: Shelf | None = None) -> None:
    """Make all rollups of a site anew out of its facts, while it waits.

    ``connection`` must be in autocommit mode, as mes_ingest. Raises as ``differences`` does, and
    nothing is changed then.
    """
    async with connection.transaction():
        sources = await _sources(connection, site, shelf)
        await _hold(connection, site)
        await _rebuild(connection, site, sources)


async def fold(connection: AsyncConnection[Any]) -> int:
    """Fold all deltas that stand, some at a time; return how many there were.

    None where somebody else is folding. No sum changes by it, and nobody who applies facts waits
    for it. ``connection`` must be in autocommit mode, as mes_ingest.
    """
    folded = 0
    for table in ROLLED:
        while some := await _fold_some(connection, table):
            folded += some
            if some < FOLD_ROWS:
                break
    return folded


async def _fold_some(connection: AsyncConnection[Any], table: str) -> int:
    async with connection.transaction():
        cursor = await connection.execute(f"SELECT pg_try_advisory_xact_lock({FOLDING})".encode())
        if not (await cursor.fetchone() or [False])[0]:
            return 0
        cursor = await connection.execute(fold_statement(table).encode(), {"most": FOLD_ROWS})
        row = await cursor.fetchone()
        return int(row[0]) if row else 0


async def keep_folding(connection: AsyncConnection[Any]) -> None:
    """Fold what stands, again and again until cancelled; ``connection`` as for ``fold``."""
    dead = 0
    while True:
        folded = await fold(connection)
        metrics.FOLDED.inc(folded)
        dead += folded
        if dead >= FOLD_ROWS:  # who reads goes over what was deleted until it is cleared away
            dead = 0
            for table in ROLLED:
                await connection.execute(f"VACUUM mes.{deltas_of(table)}".encode())
        await asyncio.sleep(FOLD_PAUSE_S)


async def follow_days(connection: AsyncConnection[Any], shelf: Shelf | None = None) -> list[str]:
    """Have the rollups of each site go by its own zone and day start; return whose changed.

    Until this is committed they are right by what stood before. A zone that PostgreSQL does not
    know is told in the log, and the site's days stay as they are; so is an archive that can't be
    read. ``connection`` must be in autocommit mode, as mes_ingest.
    """
    cursor = await connection.execute(_OTHERWISE)
    followed = []
    for site, zone, day_start in await cursor.fetchall():
        try:
            async with connection.transaction():
                await connection.execute("SELECT now() AT TIME ZONE %s", [zone])
                sources = await _sources(connection, site, shelf)
                await _hold(connection, site)
                await connection.execute(_FOLLOW, [site, zone, day_start])
                await _rebuild(connection, site, sources)
        except psycopg.errors.InvalidParameterValue:
            _log.warning("the row of %s in mes.sites names no time zone: %r", site, zone)
            continue
        except (ArchiveAway, ArchiveDamaged, StoreBusy) as why:
            _log.warning("rollups of %s follow its new day later: %s", site, why)
            continue
        note(_log, "rollups follow the site's day", site=site, zone=zone, day_start=str(day_start))
        followed.append(site)
    return followed


async def _hold(connection: AsyncConnection[Any], site: str) -> None:
    """Wait for whoever applies facts of the site, and keep all others waiting until the commit."""
    await connection.execute(
        "SELECT FROM sync.epoch WHERE site = %s ORDER BY epoch FOR UPDATE", [site]
    )


async def _sources(
    connection: AsyncConnection[Any], site: str, shelf: Shelf | None
) -> dict[str, str]:
    """Return what to select the facts from, by table: files are read before anybody waits."""
    return {table: await all_facts(connection, shelf, table, site) for table in ROLLED}


async def _rebuild(connection: AsyncConnection[Any], site: str, sources: Mapping[str, str]) -> None:
    for table, source in sources.items():
        for statement in rebuild_statements(table, source):
            await connection.execute(statement.encode(), {"site": site})
    await connection.execute("SELECT sync.count_change(%s, 'kept')", [site])
