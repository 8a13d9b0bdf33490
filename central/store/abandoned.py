"""Sessions that stand still amid a statement, and hold the chain of a site: they are ended.

A worker may be frozen, or cut off, anywhere. Between two statements PostgreSQL ends its session by
itself (``central.store.session``). Not amid a COPY that waits for more of the client's data, nor
amid an answer that the client does not read: there PostgreSQL looks at no time limit before the
client moves, and whoever took the site over would wait for its chain without end. So workers look
at each other's sessions, and end one that has not moved for as long as a transaction may take.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

#: Seconds after which a session that has not moved is taken for abandoned.
STILL_MAX_S: Final = 30.0

#: A session as it stands: its process, the begin of its statement, and the bytes that it has read.
Standing = tuple[int, datetime, int]

# As whoever signed in: a role that was taken on would see nothing of its fellows' sessions.
_AS_LOGIN: Final = b"SET LOCAL ROLE NONE"
# Of one that waits for its client amid a statement, and holds the chain of a site.
_STANDING: Final = """
    SELECT a.pid, a.query_start, coalesce(p.bytes_processed, 0)
    FROM pg_stat_activity AS a LEFT JOIN pg_stat_progress_copy AS p USING (pid)
    WHERE a.datname = current_database() AND a.usename = session_user AND a.state = 'active'
      AND a.wait_event IN ('ClientRead', 'ClientWrite') AND a.query_start IS NOT NULL
      AND EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND l.granted
                  AND l.relation = 'sync.epoch'::regclass AND l.mode = 'RowShareLock')"""
_LOOK: Final = _STANDING.encode()
# Once more as it was seen: it may have moved since. Materialized, or PostgreSQL might end sessions
# before it looks whether they are those.
_END: Final = f"""
    WITH s (pid, query_start, bytes) AS MATERIALIZED ({_STANDING})
    SELECT pid, pg_terminate_backend(pid) FROM s
    WHERE (pid, query_start, bytes) = (%s, %s, %s)""".encode()


@dataclass(slots=True)
class StandingStill:
    """Which sessions stood still, as far as one worker has seen them."""

    _since: dict[Standing, float] = field(default_factory=dict)

    def look(self, found: Iterable[Standing], now_s: float) -> list[Standing]:
        """Return those that have not moved for too long; ``now_s`` by a clock that is never set."""
        self._since = {each: self._since.get(each, now_s) for each in found}
        return [each for each, since in self._since.items() if now_s - since >= STILL_MAX_S]


async def standing(connection: AsyncConnection[Any]) -> list[Standing]:
    """Return the sessions that wait for their clients amid a statement, and hold a chain."""
    await connection.execute(_AS_LOGIN)
    cursor = await connection.execute(_LOOK)
    return await cursor.fetchall()


async def end(connection: AsyncConnection[Any], abandoned: Iterable[Standing]) -> list[int]:
    """End these sessions where they stand as they did; return the numbers of their processes."""
    await connection.execute(_AS_LOGIN)
    ended = []
    for each in abandoned:
        cursor = await connection.execute(_END, each)
        ended += [pid for pid, is_told in await cursor.fetchall() if is_told]
    return ended
