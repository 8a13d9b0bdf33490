"""What the centre, which went back, was told to do again, until it is here how that went.

Of a transaction that is in the tips these are the rows in which it is not, as what was parked
(``edge.store.homecoming``). The centre may go back once more before it has done them, or before
this store has heard of it; then they are told again, or nobody would have them any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from edge.store import cursor

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

#: tx_id, table and id.
Row = tuple[str, str, str]


class Brought(NamedTuple):
    """What a snapshot that is under way has brought so far."""

    #: Its number, which the rows remember that it held.
    number: int = -1
    #: Up to which own transaction it is how they went.
    upto_n: int = 0


# Decided is what an ack has passed, or the one of the snapshot under way if it has brought the row.
_LEFT: Final = """SELECT a.tx_id, a.table_name, a.id FROM _sync_again a
    JOIN _sync_out o INDEXED BY _sync_out_by_tx ON o.tx_id = a.tx_id AND o.part = 0
        AND o.epoch = (SELECT epoch FROM _sync_site)
    JOIN _sync_table t ON t.name = a.table_name
    LEFT JOIN _sync_row r ON r.table_no = t.no AND r.id = a.id
    WHERE o.n > :decided_n AND NOT (o.n <= :brought_n AND coalesce(r.seen, 0) = :number)"""


def left(connection: sqlite3.Connection, brought: Brought, *, applied_n: int = 0) -> list[Row]:
    """Return the rows of which it is not here yet how they went, after an own transaction."""
    at = cursor.read(connection)
    # While orders are void, so is the ack: it is the lost history's.
    (void,) = connection.execute("SELECT void_since IS NOT NULL FROM _sync_site").fetchone()
    given = {
        "decided_n": max(applied_n, 0 if void else at.acked_n),
        "brought_n": brought.upto_n, "number": brought.number,
    }  # fmt: skip
    return connection.execute(_LEFT, given).fetchall()


def forget_done(connection: sqlite3.Connection, brought: Brought) -> None:
    """Forget of which it is here how they went. Inside a transaction."""
    keep(connection, left(connection, brought))


def keep(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Remember these rows, those of them that are told for done already, and no others.

    Those of later transactions are sent as any other that is not decided. Inside a transaction.
    """
    connection.execute("DELETE FROM _sync_again")
    connection.executemany(
        "INSERT OR IGNORE INTO _sync_again (tx_id, table_name, id) SELECT tx_id, ?2, ?3"
        " FROM _sync_out INDEXED BY _sync_out_by_tx JOIN _sync_site USING (epoch)"
        " WHERE tx_id = ?1 AND part = 0 AND n <= told_n",
        rows,
    )
