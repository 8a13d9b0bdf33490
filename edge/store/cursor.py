"""How far a store has followed the feeds, and which of its own transactions are decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.changes import SHARED, Ack, Position

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

#: The trail keeps every one of the last links, then one of 2, of 4, and so on.
TRAIL_DENSE: Final = 32


@dataclass(slots=True)
class Cursor:
    """The part of ``_sync_site`` that changes with what comes from the centre."""

    site: str
    epoch: str
    last_n: int
    acked_n: int
    acked_at_ms: int | None
    safe_n: int
    own: Position
    shared: Position
    #: Entries wait while a snapshot is needed: it will be newer than they are.
    needs_snapshot: bool
    #: Since when what came in one feed waits for the other one, and nothing could be shown.
    waits_since_ms: int | None

    def of(self, scope: str) -> Position:
        """Return the last link taken of a feed."""
        return self.shared if scope == SHARED else self.own

    def follow(self, scope: str, link: Position) -> None:
        """Take a link of a feed."""
        if scope == SHARED:
            self.shared = link
        else:
            self.own = link

    def decide(self, ack: Ack | None, now_ms: int) -> bool:
        """Take the centre's ack; return whether it decides on anything of this epoch."""
        if ack is None or ack.epoch != self.epoch:
            return False
        self.safe_n = max(self.safe_n, min(ack.safe_n, ack.n))
        if ack.n <= self.acked_n:
            return False
        self.acked_n, self.acked_at_ms = ack.n, now_ms
        return True


def read(connection: sqlite3.Connection) -> Cursor:
    """Return how far the store has followed."""
    row = connection.execute(
        "SELECT site, epoch, last_n, acked_n, acked_at_ms, safe_n, own_pos, own_hash, shared_pos,"
        " shared_hash, needs_snapshot, waits_since_ms FROM _sync_site"
    ).fetchone()
    site, epoch, last_n, acked_n, acked_at_ms, safe_n, *feeds, needs_snapshot, waits = row
    own, shared = Position(*feeds[:2]), Position(*feeds[2:])
    return Cursor(
        site, epoch, last_n, acked_n, acked_at_ms, safe_n, own, shared, bool(needs_snapshot), waits
    )


def save(connection: sqlite3.Connection, at: Cursor) -> None:
    """Keep how far the store has followed, in the transaction that applied what led there."""
    connection.execute(
        "UPDATE _sync_site SET acked_n = ?, acked_at_ms = ?, safe_n = ?, own_pos = ?, own_hash = ?,"
        " shared_pos = ?, shared_hash = ?, needs_snapshot = ?, waits_since_ms = ?",
        (
            at.acked_n, at.acked_at_ms, at.safe_n, at.own.n, at.own.hash, at.shared.n,
            at.shared.hash, at.needs_snapshot, at.waits_since_ms,
        ),
    )  # fmt: skip


# --- the trail ----------------------------------------------------------------------------------


def leave_trail(connection: sqlite3.Connection, scope: str, links: Iterable[Position]) -> None:
    """Add links to the trail of a feed and thin what lies further back."""
    connection.executemany(
        "INSERT OR REPLACE INTO _sync_seen (scope, pos, hash) VALUES (?, ?, ?)",
        [(scope, link.n, link.hash) for link in links],
    )
    rows = connection.execute("SELECT pos FROM _sync_seen WHERE scope = ?", (scope,))
    kept = [pos for (pos,) in rows]
    latest = max(kept, default=0)
    connection.executemany(
        "DELETE FROM _sync_seen WHERE scope = ? AND pos = ?",
        [(scope, pos) for pos in kept if not is_in_trail(pos, latest)],
    )


def start_trail(connection: sqlite3.Connection, scope: str, link: Position) -> None:
    """Forget the trail of a feed and start a new one: what came before may be another history."""
    connection.execute("DELETE FROM _sync_seen WHERE scope = ?", (scope,))
    leave_trail(connection, scope, [link])


def is_in_trail(pos: int, latest: int) -> bool:
    """Return whether the trail up to ``latest`` keeps a position.

    Distances double, so a feed of a million entries leaves some 500 links; a position that is
    dropped once is never asked for again.
    """
    step = 1
    while latest - pos >= TRAIL_DENSE * step:
        step *= 2
    return pos % step == 0
