"""Upkeep: what has to happen now and then, whoever does it and however often."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from shared.observe import note

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_log = logging.getLogger(__name__)

#: Snapshots are fetched within hours; a spool older than this is abandoned.
SNAPSHOT_HOURS = 24
UPKEEP_EVERY_S = 60.0


async def advance_safe(connection: AsyncConnection[Any], safe_after_s: float) -> int:
    """Declare safe what was applied longer ago than this; return the number of sites that moved.

    ``safe`` means: inside the oldest backup that might still be restored. While no backup has
    ever been marked, age stands for it (protocol, rule 8).
    """
    cursor = await connection.execute(
        """UPDATE sync.epoch e SET safe_n = a.n
           FROM (SELECT site, epoch, max(n) AS n FROM sync.applied
                 WHERE applied_at <= now() - make_interval(secs => %s) GROUP BY site, epoch) a
           WHERE a.site = e.site AND a.epoch = e.epoch AND a.n > e.safe_n""",
        [safe_after_s],
    )
    return cursor.rowcount


async def prune(connection: AsyncConnection[Any], feed_days: int) -> dict[str, int]:
    """Delete feed entries, snapshots and known transactions past their time; return the counts.

    An edge that was away for longer takes a snapshot. Transactions are remembered twice as long
    as entries: a late copy of one must still be known.
    """
    feed = await connection.execute(
        """DELETE FROM sync.feed f USING sync.feed_head h
           WHERE h.scope = f.scope AND f.pos < h.pos
             AND f.made_at < now() - make_interval(days => %s)""",
        [feed_days],
    )
    spools = await connection.execute(
        "DELETE FROM sync.snapshot WHERE made_at < now() - make_interval(hours => %s)",
        [SNAPSHOT_HOURS],
    )
    applied = await connection.execute(
        """DELETE FROM sync.applied a USING sync.epoch e
           WHERE e.site = a.site AND e.epoch = a.epoch AND a.n < least(e.safe_n, e.last_n)
             AND a.applied_at < now() - make_interval(days => %s)""",
        [2 * feed_days],
    )
    return {"feed": feed.rowcount, "snapshots": spools.rowcount, "applied": applied.rowcount}


async def keep_up(connection: AsyncConnection[Any], *, safe_after_s: float, feed_days: int) -> None:
    """Do the upkeep every minute until cancelled; ``connection`` must be in autocommit mode."""
    while True:
        moved = await advance_safe(connection, safe_after_s)
        pruned = await prune(connection, feed_days)
        if moved or any(pruned.values()):
            note(_log, "upkeep", safe_moved=moved, **pruned)
        await asyncio.sleep(UPKEEP_EVERY_S)
