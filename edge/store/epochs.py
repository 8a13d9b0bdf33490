"""A store that went back to an older copy of itself goes on in a new epoch.

The centre has closed the old one (protocol, rule 19). All that the outbox holds moves to the new
epoch with its transaction ids, so whatever of it had its effect has no second one. Bodies stay as
they are frozen, but for one thing: the copy may have held writes that its lost life drained after
it was taken. Those are at the centre already, under an id that this store never saw, so they are
taken out (``edge.store.sent``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.store import again, lives, position, snapshot
from edge.store.ack import settle_own
from edge.store.applying import Applying
from edge.store.open import silent
from edge.store.outbox import link_hash
from edge.store.puts import look_again
from edge.store.sent import put_in_place
from edge.store.taken import keep
from shared.changes import GENESIS
from shared.errors import ForkedHistory
from sync.handshake import Closure, Hello
from sync.protocol import transaction_hash

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from edge.store.apply import DrainedFirst
    from edge.store.open import Opened
    from edge.store.sent import TakenOut
    from sync.handshake import Closed

_HASH = 32
#: A transaction of the outbox: n, parts, tx_id, digests.
_Sent = tuple[int, int, str, bytes]


@dataclass(frozen=True, slots=True)
class Kept:
    """What of the outbox the centre has already."""

    #: The first transaction that is new to it, without what had been sent before.
    taken: TakenOut | None = None
    #: It has all up to this one, though not all in this epoch.
    known_n: int = 0


@dataclass(slots=True)
class Begun:
    """What moved to the new epoch."""

    transactions: int = 0
    #: Rows that were taken out, by table: the lost life of the store had sent them.
    sent_before: dict[str, int] = field(default_factory=dict)
    #: The first of them with what was taken out, for people.
    samples: list[str] = field(default_factory=list)


#: Where orders are void, any head may be a later one than the centre has; and so may what was taken
#: out as sent before: the centre is to be asked once more whether it has that, until it is known.
_HIGHEST_ORDER = """SELECT CASE
    WHEN void_since IS NULL AND NOT EXISTS (SELECT 1 FROM _sync_taken)
    THEN max(coalesce((SELECT max(ord) FROM _sync_row), 0),
             coalesce((SELECT max(ord) FROM _sync_aside), 0)) ELSE 1 << 62 END FROM _sync_site"""
_VOID_ORDERS = """UPDATE _sync_row SET ord = 0
    WHERE ord > 0 AND (SELECT void_since IS NOT NULL FROM _sync_site)"""


def hello(connection: sqlite3.Connection, *, with_order: bool = False) -> Hello:
    """Return what the store says of itself on each connect.

    ``with_order`` reads all versions; it is asked for once in each life of the centre's server.
    """
    at = position.read(connection)
    order = connection.execute(_HIGHEST_ORDER) if with_order else ()
    lineage = connection.execute("SELECT epoch, fork_n, closed_n FROM _sync_epoch ORDER BY no")
    return Hello(
        instance=at.instance,
        moved_from=at.moved_from,
        epoch=at.epoch,
        n=at.last_n,
        hash=at.last_hash,
        acked_n=at.acked_n,
        acked_hash=link_hash(connection, at.acked_n),
        own=at.own,
        shared=at.shared,
        lineage=tuple(Closure(*each) for each in lineage),
        needs_snapshot=at.needs_snapshot,
        lives=lives.met(connection),
        max_order=next((highest for (highest,) in order), None),
    )


def begin(
    opened: Opened, closed: Closed, kept: Kept, *, now_ms: int, drained: DrainedFirst
) -> Begun:
    """Go on in the epoch that the centre opened; all in one transaction, after a drain.

    Raises ForkedHistory where the centre closed another epoch than the one that the store is in.
    """
    connection = opened.connection
    with drained():
        at = position.read(connection)
        if closed.closure.epoch != at.epoch:
            message = f"the centre closed epoch {closed.closure.epoch}, this store is in {at.epoch}"
            raise ForkedHistory(message)
        begun = Begun()
        if closed.next_epoch != at.epoch:
            # What the centre decided on must not lie over its heads until it has come there again:
            # they may hold what was written on it, which a program here would overwrite unseen.
            look_again(connection, "p.n <= ?", kept.known_n)
            with silent(connection):
                settle_own(Applying(opened, at.epoch, kept.known_n, now_ms))
            # What came out of the shadow may have its order from a history that the centre lost.
            connection.execute(_VOID_ORDERS)
            if (taken := kept.taken) is not None:
                put_in_place(connection, at.epoch, taken)
                keep(connection, closed.closure, taken)
                begun.sent_before, begun.samples = taken.rows, taken.samples
            again.forget_done(connection, snapshot.brought(connection))
            _move(connection, closed, begun, kept.known_n)
            _remember(connection, closed.closure, now_ms)
        connection.execute("UPDATE _sync_site SET hlc = max(hlc, ?)", (closed.hlc,))
        connection.execute("DELETE FROM _sync_snapshot")  # it lacks what came after the copy
        snapshot.want(connection, "the store went back to an older copy of itself", now_ms)
        position.note(connection, "MES-RESTORED", _told(closed, begun), now_ms)
        for each in begun.samples:
            position.note(connection, "MES-SENT-BEFORE", each, now_ms)
    return begun


def _move(connection: sqlite3.Connection, closed: Closed, begun: Begun, known_n: int) -> None:
    """Chain what the outbox holds anew, from 1, and let undecided writes follow."""
    old, new = closed.closure.epoch, closed.next_epoch
    previous, n = GENESIS, 0
    connection.execute("CREATE TEMP TABLE moved (n INTEGER PRIMARY KEY, to_n INTEGER NOT NULL)")
    for old_n, _, tx_id, digests in _transactions(connection, old):
        n += 1
        own = transaction_hash(previous, new, n, tx_id, _split(digests))
        connection.execute(
            "UPDATE _sync_out SET epoch = ?, n = ?, previous = ?, hash = ?"
            " WHERE epoch = ? AND n = ?",
            (new, n, previous, own, old, old_n),
        )
        connection.execute("INSERT INTO temp.moved VALUES (?, ?)", (old_n, n))
        previous = own
    # By way of negative numbers: none may meet one that has not moved yet.
    connection.execute(
        "UPDATE _sync_pending SET n ="
        " -(SELECT m.to_n FROM temp.moved m WHERE m.n = _sync_pending.n)"
    )
    connection.execute("UPDATE _sync_pending SET n = -n")
    connection.execute(
        "UPDATE _sync_site SET told_n ="
        " coalesce((SELECT max(to_n) FROM temp.moved WHERE n <= ?), 0)",
        (known_n,),
    )
    connection.execute(
        "UPDATE _sync_taken SET before_n ="
        " coalesce((SELECT min(to_n) FROM temp.moved WHERE n >= before_n), ?)",
        (n + 1,),
    )
    connection.execute("DROP TABLE temp.moved")
    connection.execute(
        "UPDATE _sync_site SET epoch = ?, last_n = ?, last_hash = ?, acked_n = 0, safe_n = 0",
        (new, n, previous),
    )
    begun.transactions = n


def _transactions(connection: sqlite3.Connection, epoch: str, after: int = 0) -> Iterator[_Sent]:
    # One at a time by its number: what is read must not be what is being moved.
    while True:
        row = connection.execute(
            "SELECT n, parts, tx_id, digests FROM _sync_out WHERE epoch = ? AND n > ? AND part = 0"
            " ORDER BY n LIMIT 1",
            (epoch, after),
        ).fetchone()
        if row is None:
            return
        yield row
        after = row[0]


def _remember(connection: sqlite3.Connection, closure: Closure, now_ms: int) -> None:
    connection.execute(
        "INSERT INTO _sync_epoch (epoch, fork_n, closed_n, at_ms) VALUES (?, ?, ?, ?)",
        (closure.epoch, closure.fork_n, closure.closed_n, now_ms),
    )


def _told(closed: Closed, begun: Begun) -> str:
    """Return what a person reads of it."""
    lost = closed.closure.closed_n - closed.closure.fork_n
    parts = [f"the store went back to n {closed.closure.fork_n}"]
    if lost > 0:
        parts.append(f"{lost} transactions after it are taken home from the centre")
    parts.append(f"{begun.transactions} of its own go on in a new epoch")
    parts += [f"{n} rows of {table} had been sent before" for table, n in begun.sent_before.items()]
    return "; ".join(parts)


def _split(digests: bytes) -> tuple[bytes, ...]:
    return tuple(digests[at : at + _HASH] for at in range(0, len(digests), _HASH))
