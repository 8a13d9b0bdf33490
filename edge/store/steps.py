"""In which order what came in two feeds is shown: step by step, as it happened at the centre.

A step of the centre is what became visible there together. It is a run of entries in the site's
feed, or in the shared one, or in both; the last entry of a run names where the other feed stood at
the end of the step. A run that is here waits in ``_sync_in`` until the other feed is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.changes import SHARED
from sync import codec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from edge.store.cursor import Cursor
    from shared.changes import FeedEntry


@dataclass(frozen=True, slots=True)
class Run:
    """The entries of one step in one feed, which are all here."""

    scope: str
    #: Position of its last entry.
    end: int
    #: Where the other feed stood at the end of the step.
    beside: int


@dataclass(frozen=True, slots=True)
class Shown:
    """Where each feed stands in what a reader sees: the ends of the last runs that were applied."""

    own: int
    shared: int


@dataclass(frozen=True, slots=True)
class Waits:
    """A run that is here and can't be shown yet: the other feed has not come so far."""

    run: Run
    #: Position of the last entry of the other feed that is here.
    reached: int


def next_runs(shown: Shown, own: Run | None, shared: Run | None) -> tuple[Run, ...]:
    """Return which of the first runs that wait come next, together where they are of one step.

    Shared rows go first: those of a site may refer to them.
    """
    if own and own.beside <= shown.shared:
        return (own,)
    if shared and shared.beside <= shown.own:
        return (shared,)
    if own and shared and own.beside <= shared.end and shared.beside <= own.end:
        return (shared, own)
    return ()


def run_of(entry: FeedEntry, site: str) -> Run:
    """Return the run that this entry ends."""
    other = site if entry.scope == SHARED else SHARED
    return Run(entry.scope, entry.pos, entry.beside.get(other, 0))


# --- what waits ---------------------------------------------------------------------------------


def keep(connection: sqlite3.Connection, entry: FeedEntry, body: bytes, site: str) -> None:
    """Keep an entry until it can be shown."""
    message = codec.encode_entry(
        entry.scope, entry.pos, entry.previous, entry.hash, codec.compress(body)
    )
    beside = None if entry.more else run_of(entry, site).beside
    connection.execute(
        "INSERT INTO _sync_in (scope, pos, message, beside) VALUES (?, ?, ?, ?)",
        (entry.scope, entry.pos, message, beside),
    )


def are_there(connection: sqlite3.Connection) -> bool:
    """Tell whether any entry waits."""
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM _sync_in)").fetchone()[0])


def first_run(connection: sqlite3.Connection, scope: str) -> Run | None:
    """Return the first whole run of a feed that waits."""
    found = connection.execute(
        "SELECT pos, beside FROM _sync_in WHERE scope = ? AND beside IS NOT NULL"
        " ORDER BY pos LIMIT 1",
        (scope,),
    ).fetchone()
    return Run(scope, *found) if found else None


def shown(connection: sqlite3.Connection, at: Cursor) -> Shown:
    """Return where each feed stands in what a reader sees."""
    kept = "SELECT min(pos) - 1 FROM _sync_in WHERE scope = ?"
    own, shared = connection.execute(f"SELECT ({kept}), ({kept})", (at.site, SHARED)).fetchone()
    return Shown(at.own.n if own is None else own, at.shared.n if shared is None else shared)


def waits(connection: sqlite3.Connection, at: Cursor) -> Waits | None:
    """Return what waits for the other feed, if anything does; of two the one of the site's feed."""
    if run := first_run(connection, at.site):
        return Waits(run, at.shared.n)
    run = first_run(connection, SHARED)
    return Waits(run, at.own.n) if run else None


def take(connection: sqlite3.Connection, scope: str, pos: int) -> FeedEntry:
    """Return an entry that waits, and forget it."""
    (message,) = connection.execute(
        "DELETE FROM _sync_in WHERE scope = ? AND pos = ? RETURNING message", (scope, pos)
    ).fetchone()
    return codec.decode_entry(message)[0]


def take_before(connection: sqlite3.Connection, last: FeedEntry) -> Iterator[FeedEntry]:
    """Yield and forget the entries of a run before its last, one in memory at a time."""
    waiting = connection.execute(
        "SELECT pos FROM _sync_in WHERE scope = ? AND pos < ? ORDER BY pos", (last.scope, last.pos)
    )
    for (pos,) in waiting.fetchall():
        yield take(connection, last.scope, pos)
