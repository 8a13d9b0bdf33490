"""Rollups held against the facts by themselves: each site in its turn, all within a time.

They are right by construction, and whoever trusts them is to know that somebody looks. What is
found is told by the status and by a metric, and mended by a person: a sum that is wrong was made
so by a fault of ours, or by somebody's hand, and either is to be found out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central.rolled import differences
from central.unions import KEPT
from shared.errors import SyncError
from shared.observe import note

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from central.archive_loading import Shelf

_log = logging.getLogger(__name__)

#: Seconds between two looks whether a site is due. Within a day that is a turn for 1,440 sites.
PAUSE_S: Final = 60.0
#: Rows that differ which are named in the log.
_NAMED_MAX: Final = 3

_DUE: Final = b"""
SELECT s.site FROM sync.site AS s LEFT JOIN sync.rollup_check AS c USING (site)
WHERE c.checked_at IS NULL OR c.checked_at <= now() - %s * interval '1 hour'
ORDER BY c.checked_at NULLS FIRST, s.site LIMIT 1"""

# Where nobody could look, what was found before stands: that is no proof of anything.
_KEEP: Final = b"""
INSERT INTO sync.rollup_check AS c (site, checked_at, differing, why) VALUES (%s, now(), %s, %s)
ON CONFLICT (site) DO UPDATE SET checked_at = now(), why = excluded.why,
    differing = CASE WHEN excluded.why = '' THEN excluded.differing ELSE c.differing END"""


async def check_next(
    connection: AsyncConnection[Any], every_h: float, shelf: Shelf | None = None
) -> str | None:
    """Check the site whose turn it is, and keep what was found; return it, or None.

    It is due ``every_h`` hours after it was checked last. ``connection`` must be in autocommit
    mode, as mes_ingest.
    """
    cursor = await connection.execute(_DUE, [every_h])
    if (row := await cursor.fetchone()) is None:
        return None
    (site,), found, why = row, [], ""
    try:
        for rollup in KEPT:
            lines = await differences(connection, rollup, site, shelf)
            found += [{"rollup": rollup.name} | line for line in lines]
    except (SyncError, psycopg.Error, OSError) as error:
        if connection.closed:
            raise
        # The site's turn is over all the same: the others are to have theirs.
        why, found = str(error) or type(error).__name__, []
        _log.warning("rollups of %s were not checked: %s", site, why)
    if found:
        told = [{k: str(v) for k, v in each.items()} for each in found[:_NAMED_MAX]]
        note(
            _log, "rollups differ", level=logging.ERROR, site=site, rows=len(found), some=told,
            next=f"mes-central rollups verify --site {site}",
        )  # fmt: skip
    await keep_found(connection, site, len(found), why)
    return str(site)


async def keep_found(
    connection: AsyncConnection[Any], site: str, differing: int, why: str = ""
) -> None:
    """Keep in how many rows a site's rollups differed just now, or why nobody could look."""
    await connection.execute(_KEEP, [site, differing, why])


async def keep_checking(
    connection: AsyncConnection[Any], every_h: float, shelf: Shelf | None = None
) -> None:
    """Check each site in its turn until cancelled; ``connection`` as for ``check_next``."""
    while True:
        await check_next(connection, every_h, shelf)
        await asyncio.sleep(PAUSE_S)
