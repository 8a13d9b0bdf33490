"""What the centre, which went back, is told beside the tips, and how the store follows it anew.

Which own transactions the tips hold already, and which rows of these they do not: the centre does
those again when the transactions come (protocol, rule 20).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.store import again, aside, cursor, position, snapshot
from edge.store.open import silent
from edge.store.tips import PARKED_AGAIN
from edge.store.undone import blocks_of
from shared.changes import GENESIS, Position

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from edge.store.apply import DrainedFirst
    from edge.store.open import Opened
    from edge.store.tips import Lost

#: n, tx_id and hash of an own transaction.
_Link = tuple[int, str, bytes]


def owe_from(connection: sqlite3.Connection, applied_n: int) -> None:
    """Let go of nothing that the centre lacks, whatever it called safe. Inside a transaction."""
    connection.execute("UPDATE _sync_site SET safe_n = min(safe_n, ?)", (applied_n,))


def took_effect(opened: Opened) -> set[tuple[str, str, str]]:
    """Return which own changes took effect after they had been parked: table, id and tx_id."""
    if "sync_parked" not in opened.catalog:
        return set()
    rows = opened.connection.execute(
        "SELECT table_name, row_id, tx_id FROM sync_parked WHERE state = 'applied'"
        " AND row_id IS NOT NULL AND tx_id IS NOT NULL"
        " AND id NOT IN (SELECT record FROM _sync_ahead)"
    )
    return set(rows)


def included(opened: Opened, lost: Lost) -> tuple[list[_Link], list[again.Row]]:
    """Return the own transactions that are in the tips, and rows in which they are not.

    These, by tx_id, table and id, are: what is parked; what a snapshot that was being loaded has
    not reached; what was written on rows that are gone here and are not ours to tell; and what an
    earlier call returned, as long as nothing has told what became of it.
    """
    connection = opened.connection
    at, upto = cursor.read(connection), _upto(connection)
    undone = connection.execute(
        f"""SELECT p.tx_id, p.table_name, p.row_id FROM sync_parked p WHERE {PARKED_AGAIN}
        UNION SELECT o.tx_id, t.name, w.id FROM _sync_pending w
        JOIN _sync_table t ON t.no = w.table_no
        JOIN _sync_out o ON o.epoch = ? AND o.n = w.n AND o.part = 0 WHERE w.n <= ?""",
        (lost.applied_n, at.epoch, upto),
    ).fetchall()
    undone += again.left(connection, snapshot.brought(connection), applied_n=lost.applied_n)
    sent = connection.execute(
        "SELECT n, tx_id, hash FROM _sync_out WHERE epoch = ? AND part = 0 AND n > ? AND n <= ?"
        " ORDER BY n",
        (at.epoch, lost.applied_n, upto),
    ).fetchall()
    return sent, sorted({*undone, *_untold(opened, lost, sent, upto)})


def _upto(connection: sqlite3.Connection) -> int:
    """Return up to which own transaction the rows hold what the centre had decided."""
    told_n: int = connection.execute("SELECT told_n FROM _sync_site").fetchone()[0]
    return max(cursor.read(connection).acked_n, told_n, snapshot.brought(connection).upto_n)


def _untold(opened: Opened, lost: Lost, sent: Sequence[_Link], upto: int) -> Iterator[again.Row]:
    """Give own writes on rows of which no tip is told.

    Those are gone here and shared by several sites, or stand under a deletion or an insertion of
    ours that is not decided, beneath which nobody can look.
    """
    shared = [t for t in opened.catalog.tables if not t.fact and t.is_of_several]
    gone = {
        (table.name, row_id)
        for table in shared
        for (row_id,) in opened.connection.execute(
            """SELECT id FROM _sync_row WHERE table_no = :no AND gone > 0 AND ord > :max_order
            UNION SELECT id FROM _sync_aside WHERE table_name = :name AND code = :refused
              AND content = :no_row AND ord > :max_order""",
            {
                "no": opened.numbers[table.name],
                "name": table.name,
                "max_order": lost.max_order,
                "refused": aside.REFUSED,
                "no_row": aside.NO_ROW,
            },
        )
    }
    gone |= set(opened.connection.execute(_COVERED, (upto,)))
    if not gone:
        return
    for n, tx_id, _ in sent:
        for block in blocks_of(opened, n):
            yield from ((tx_id, block.table, i) for i in block.ids if (block.table, i) in gone)


_COVERED: Final = """SELECT DISTINCT t.name, w.id FROM _sync_pending w
    JOIN _sync_table t ON t.no = w.table_no WHERE w.n > ? AND w.op <> 'U' AND NOT EXISTS (
        SELECT 1 FROM _sync_shadow s WHERE s.table_no = w.table_no AND s.id = w.id)"""


def before_first(connection: sqlite3.Connection) -> Position:
    """Return the link before the first transaction that can still be sent."""
    row = connection.execute(
        "SELECT o.n - 1, o.previous FROM _sync_out o JOIN _sync_site s ON s.epoch = o.epoch"
        " WHERE o.part = 0 ORDER BY o.n LIMIT 1"
    ).fetchone()
    row = row or connection.execute("SELECT last_n, last_hash FROM _sync_site").fetchone()
    return Position(*row)


def begin_anew(
    opened: Opened, lost: Lost, undone: Sequence[again.Row], why: str, *, now_ms: int,
    drained: DrainedFirst,
) -> None:  # fmt: skip
    """Follow the centre from the beginning: positions and orders of the lost history are void.

    ``undone`` are the rows that ``included`` returned, and the centre was told.
    """
    connection = opened.connection
    with drained(), silent(connection):
        connection.execute("UPDATE _sync_site SET told_n = ?", (_upto(connection),))
        again.keep(connection, undone)
        # What is parked again comes again, with the time at which that was sent.
        parked = f"SELECT p.id FROM sync_parked p WHERE {PARKED_AGAIN}"
        for table in ("_sync_row", "sync_parked"):
            connection.execute(f"DELETE FROM {table} WHERE id IN ({parked})", (lost.applied_n,))
        connection.execute("UPDATE _sync_row SET ord = 0")
        connection.execute("UPDATE _sync_aside SET ord = 0 WHERE ord IS NOT NULL")
        connection.execute(
            "UPDATE _sync_site SET own_pos = 0, own_hash = ?, shared_pos = 0, shared_hash = ?,"
            " waits_since_ms = NULL,"
            " void_since = coalesce(void_since, (SELECT max(no) FROM _sync_life), 0)",
            (GENESIS, GENESIS),
        )
        for table in ("_sync_in", "_sync_seen", "_sync_snapshot"):
            connection.execute(f"DELETE FROM {table}")
        snapshot.want(connection, "the centre went back to an older backup", now_ms)
        position.note(connection, "MES-CENTRE-RESTORED", why, now_ms)
