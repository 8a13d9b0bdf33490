"""Upkeep: what has to happen now and then, whoever does it and however often."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from central import metrics
from central.backups import MARK_LOCK, read_summary
from central.mending import mend
from central.retention import Kept, forget
from central.rolled import follow_days
from shared.observe import note

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from central.archive_loading import Shelf

_log = logging.getLogger(__name__)

#: Snapshots are fetched within hours; a spool older than this is abandoned.
SNAPSHOT_HOURS = 24
UPKEEP_EVERY_S = 60.0
#: Rows that one statement looks at, of each feed or chain: nobody waits long for it, and what it
#: leaves behind is cleaned up by the server step by step.
SLICE_ROWS = 500
#: Refused messages that are kept of one site, the latest; and for how long.
REFUSED_ROWS_MAX = 10_000
REFUSED_DAYS = 90
#: Transactions whose rows came home, and that have not come again, are remembered for.
HOME_DAYS = 400


async def advance_safe(connection: AsyncConnection[Any], safe_after_s: float) -> int:
    """Declare safe what is inside the oldest backup; return the number of chains that moved.

    That is the oldest one marked that might still be restored (protocol, rule 8). While none was
    ever finished, what was applied longer ago than ``safe_after_s`` is safe, but never beyond one
    that is being taken. A chain that is being applied to has its turn the next time: to wait for
    it, with the others locked, would stop them all.
    """
    async with connection.transaction():
        cursor = await connection.execute(
            "SELECT pg_try_advisory_xact_lock_shared(%s)", [MARK_LOCK]
        )
        if not (await cursor.fetchone() or [False])[0]:
            return 0  # a backup is being marked: what counts is about to change
        backups = await read_summary(connection)
        if backups.restorable:
            return (await connection.execute(_SAFE_BY_BACKUP)).rowcount
        if backups.ever_finished:
            return 0
        return (await connection.execute(_SAFE_BY_AGE, {"after": safe_after_s})).rowcount


# How far a chain was applied when each backup began that is, or may yet be, there to be restored;
# of a chain that was opened since, nothing is in it.
_HELD: Final = """
SELECT min(coalesce(p.last_n, 0)) FROM sync.backup AS b LEFT JOIN sync.backup_position AS p
    ON p.backup = b.name AND p.site = f.site AND p.epoch = f.epoch
WHERE b.failed_at IS NULL AND b.gone_at IS NULL"""

_SAFE_BY_BACKUP: Final = f"""
WITH free AS MATERIALIZED (
    SELECT site, epoch, last_n FROM sync.epoch FOR NO KEY UPDATE SKIP LOCKED
), held AS (
    SELECT f.site, f.epoch, least(({_HELD}), f.last_n) AS n FROM free AS f
)
UPDATE sync.epoch AS e SET safe_n = h.n FROM held AS h
WHERE h.site = e.site AND h.epoch = e.epoch AND h.n > e.safe_n"""

# Numbers and times grow together along a chain: what has come of age is read, and one more.
_SAFE_BY_AGE: Final = f"""
WITH free AS MATERIALIZED (
    SELECT site, epoch, safe_n FROM sync.epoch FOR NO KEY UPDATE SKIP LOCKED
), aged AS (
    SELECT f.site, f.epoch, ({_HELD}) AS held, (
        SELECT max(a.n) FROM sync.applied AS a
        WHERE a.site = f.site AND a.epoch = f.epoch AND a.n > f.safe_n
          AND a.n < coalesce(young.n, 9223372036854775807)) AS n
    FROM free AS f LEFT JOIN LATERAL (
        SELECT a.n FROM sync.applied AS a
        WHERE a.site = f.site AND a.epoch = f.epoch AND a.n > f.safe_n
          AND a.applied_at > now() - make_interval(secs => %(after)s)
        ORDER BY a.n LIMIT 1) AS young ON true
)
UPDATE sync.epoch AS e SET safe_n = least(a.n, a.held) FROM aged AS a
WHERE a.site = e.site AND a.epoch = e.epoch AND a.n > e.safe_n
  AND coalesce(a.held, a.n) > e.safe_n"""


_FEED: Final = """
DELETE FROM sync.feed AS f USING (
    SELECT o.scope, o.pos FROM sync.feed_head AS h CROSS JOIN LATERAL (
        SELECT scope, pos, made_at FROM sync.feed
        WHERE scope = h.scope AND pos < h.pos ORDER BY pos LIMIT %(slice)s) AS o
    WHERE o.made_at < now() - %(days)s * interval '1 day') AS o
WHERE f.scope = o.scope AND f.pos = o.pos"""

# Remembered twice as long as entries: a late copy of a transaction must still be known.
_APPLIED: Final = """
DELETE FROM sync.applied AS a USING (
    SELECT o.tx_id, o.epoch FROM sync.epoch AS e CROSS JOIN LATERAL (
        SELECT tx_id, epoch, applied_at FROM sync.applied
        WHERE site = e.site AND epoch = e.epoch AND n < least(e.safe_n, e.last_n)
        ORDER BY n LIMIT %(slice)s) AS o
    WHERE o.applied_at < now() - 2 * %(days)s * interval '1 day') AS o
WHERE a.tx_id = o.tx_id AND a.epoch = o.epoch"""

# What came home after a restore of the centre, and what of it was to be applied again: as long, and
# until it came again, in whatever epoch.
_CAME_AGAIN: Final = """
    SELECT coalesce(i.n <= e.last_n, false) OR EXISTS (
        SELECT FROM sync.applied AS a WHERE a.tx_id = i.tx_id AND a.site = i.site) AS again"""

_INCLUDED: Final = f"""
WITH old AS MATERIALIZED (
    SELECT i.site, i.tx_id, i.epoch FROM sync.included AS i
    LEFT JOIN sync.epoch AS e USING (site, epoch) CROSS JOIN LATERAL ({_CAME_AGAIN}) AS came
    WHERE i.at < now() - 2 * %(days)s * interval '1 day' AND came.again LIMIT 20 * %(slice)s
)
DELETE FROM sync.included AS i USING old AS o
WHERE (i.site, i.tx_id, i.epoch) = (o.site, o.tx_id, o.epoch)"""

# What has not may be of a store that is no more, or of a site that is away: people are told when
# that is forgotten, too; at once, so that a site is told of in one line. Of what lies beyond the
# fork of a closed epoch nobody can send anything. One that moved on is forgotten in all its epochs.
_NEVER_AGAIN: Final = f"""
WITH old AS MATERIALIZED (
    SELECT i.site, i.tx_id, i.epoch, i.n > coalesce(e.fork_n, i.n) AS is_beyond
    FROM sync.included AS i
    LEFT JOIN sync.epoch AS e USING (site, epoch) CROSS JOIN LATERAL ({_CAME_AGAIN}) AS came
    WHERE i.at < now() - 2 * %(days)s * interval '1 day' AND NOT came.again
      AND i.at < now() - make_interval(days => %(home_days)s) AND NOT EXISTS (
        SELECT FROM sync.included AS l WHERE l.site = i.site AND l.tx_id = i.tx_id
        AND l.at >= now() - make_interval(days => %(home_days)s))
), told AS (
    INSERT INTO sync.restore (site, who, why, found)
    SELECT site, 'centre', format(
               '%%s transactions of %%s whose rows came home %%s days ago have not come again: sums'
               ' in them count twice if they do (docs/restores.md)',
               count(DISTINCT tx_id), site, %(home_days)s::int),
           jsonb_build_object('forgotten', count(DISTINCT tx_id))
    FROM old WHERE NOT is_beyond GROUP BY site
)
DELETE FROM sync.included AS i USING old AS o
WHERE (i.site, i.tx_id, i.epoch) = (o.site, o.tx_id, o.epoch)"""

_AGAIN: Final = """
DELETE FROM sync.again AS a USING (
    SELECT a.site, a.tx_id, a.table_name, a.row_id FROM sync.again AS a
    WHERE a.at < now() - 2 * %(days)s * interval '1 day' AND NOT EXISTS (
        SELECT FROM sync.included AS i WHERE i.site = a.site AND i.tx_id = a.tx_id)
    LIMIT %(slice)s) AS o
WHERE (a.site, a.tx_id, a.table_name, a.row_id) = (o.site, o.tx_id, o.table_name, o.row_id)"""

_TIPS: Final = """
DELETE FROM sync.tip AS t USING (
    SELECT site_id, table_no, id FROM sync.tip
    WHERE at < now() - 2 * %(days)s * interval '1 day' LIMIT %(slice)s) AS o
WHERE (t.site_id, t.table_no, t.id) = (o.site_id, o.table_no, o.id)"""

_WITHHELD: Final = """
DELETE FROM sync.withheld WHERE id IN (
    SELECT id FROM sync.withheld WHERE state <> 'open'
    AND settled_at < now() - 2 * %(days)s * interval '1 day' LIMIT %(slice)s)"""

# Parts that nobody will ask for again: their transaction came whole another way, or never can.
_PARTS: Final = """
DELETE FROM sync.part AS p USING (
    SELECT p.site, p.epoch, p.n, p.part FROM sync.part AS p JOIN sync.epoch AS e USING (site, epoch)
    WHERE p.n <= e.last_n OR e.closed_at_n IS NOT NULL LIMIT %(slice)s) AS o
WHERE p.site = o.site AND p.epoch = o.epoch AND p.n = o.n AND p.part = o.part"""

# What was accepted and set aside whole ('fault') is nowhere else: a person decides on it.
_REFUSED: Final = """
DELETE FROM sync.refused WHERE id IN (
    SELECT id FROM (
        SELECT id, refused_at, row_number() OVER (PARTITION BY site ORDER BY id DESC) AS place
        FROM sync.refused WHERE reason <> 'fault') AS r
    WHERE place > %(refused_max)s OR refused_at < now() - make_interval(days => %(refused_days)s)
    LIMIT 20 * %(slice)s)"""

_SNAPSHOTS: Final = """
DELETE FROM sync.snapshot WHERE made_at < now() - make_interval(hours => %(snapshot_hours)s)"""

_PRUNED: Final = (
    ("feed", _FEED), ("snapshots", _SNAPSHOTS), ("parts", _PARTS), ("refused", _REFUSED),
    # What was applied tells what has come again: so that goes after it.
    ("included", _INCLUDED), ("included", _NEVER_AGAIN), ("again", _AGAIN), ("applied", _APPLIED),
    ("tips", _TIPS), ("withheld", _WITHHELD),
)  # fmt: skip


async def prune(connection: AsyncConnection[Any], feed_days: float) -> dict[str, int]:
    """Delete what is past its time, slice by slice; return the counts.

    An edge that was away for longer than its feed's entries are kept takes a snapshot.
    ``connection`` must be in autocommit mode.
    """
    given = {
        "slice": SLICE_ROWS,
        "days": feed_days,
        "refused_max": REFUSED_ROWS_MAX,
        "refused_days": REFUSED_DAYS,
        "home_days": HOME_DAYS,
        "snapshot_hours": SNAPSHOT_HOURS,
    }
    pruned = {what: 0 for what, _ in _PRUNED}
    for what, statement in _PRUNED:
        while gone := (await connection.execute(statement, given)).rowcount:
            pruned[what] += gone
    return pruned


async def keep_up(
    connection: AsyncConnection[Any], *, safe_after_s: float, feed_days: float, kept: Kept,
    shelf: Shelf | None = None,
) -> None:  # fmt: skip
    """Do the upkeep every minute until cancelled; ``connection`` must be in autocommit mode."""
    while True:
        moved = await advance_safe(connection, safe_after_s)
        await follow_days(connection, shelf)
        mended = await mend(connection, shelf)
        pruned = await prune(connection, feed_days) | await forget(connection, kept)
        for what, count in pruned.items():
            metrics.PRUNED.labels(what).inc(count)
        if moved or mended or any(pruned.values()):
            note(_log, "upkeep", safe_moved=moved, mended=mended, **pruned)
        await asyncio.sleep(UPKEEP_EVERY_S)
