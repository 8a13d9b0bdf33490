"""Which lives of the centre's server a store's heads are of, and where these left one another.

A life begins with each start of the server (``central.store.lives``). One that went on from an
older backup than the one that is restored now is no part of the present history. So the lives that
were met make a tree; what is told is the way from its root to the life of the heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sync.handshake import Met

if TYPE_CHECKING:
    import sqlite3

#: Lives that are remembered.
_LIVES_MAX: Final = 200

_WAY: Final = """WITH RECURSIVE way (no, life, after_no, parted_order) AS (
    SELECT no, life, after_no, parted_order FROM _sync_life WHERE no = ?
    UNION ALL
    SELECT l.no, l.life, l.after_no, l.parted_order
    FROM way JOIN _sync_life AS l ON l.no = way.after_no)
SELECT life, parted_order FROM way ORDER BY no"""


def met(connection: sqlite3.Connection) -> tuple[Met, ...]:
    """Return the lives that lead to the last one in which both ends agreed, oldest first."""
    (last,) = connection.execute("SELECT max(no) FROM _sync_life").fetchone()
    return _way_to(connection, last)


def seen(connection: sqlite3.Connection) -> tuple[tuple[Met, ...], bool]:
    """Return the lives that the heads are of, and whether their orders are void.

    They are from when the centre has been told all to when its snapshot is loaded. A restore that
    comes between finds them as they were before: of no life that was met since.
    """
    (void,) = connection.execute("SELECT void_since FROM _sync_site").fetchone()
    return (met(connection) if void is None else _way_to(connection, void)), void is not None


def _way_to(connection: sqlite3.Connection, no: int | None) -> tuple[Met, ...]:
    return tuple(Met(*each) for each in connection.execute(_WAY, (no,)))


def meet(connection: sqlite3.Connection, life: Met, after: str | None) -> None:
    """Remember a life in which both ends agreed, and which one it follows. In a transaction.

    One that was met before, as of servers that take turns, is the last one from now on.
    """
    connection.execute("DELETE FROM _sync_life WHERE life = ?", (life.life,))
    connection.execute(
        "INSERT INTO _sync_life (life, after_no, parted_order)"
        " VALUES (?, (SELECT no FROM _sync_life WHERE life = ?), ?)",
        (life.life, after, life.parted_order),
    )
    connection.execute(
        "DELETE FROM _sync_life WHERE no <= (SELECT max(no) FROM _sync_life) - ?", (_LIVES_MAX,)
    )
