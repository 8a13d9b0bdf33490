"""What is still on its way between a site and the centre, in words; nothing when all is there."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from edge.beat import state_path

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg


def look(store: Path) -> sqlite3.Connection:
    """Open a site's store for reading only."""
    return sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True, timeout=10)


def failure(store: Path) -> str:
    """Return the last thing that went wrong in a site's agent and was not foreseen; "" if none."""
    path = state_path(store)
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return str(told.get("failure", {}).get("why", ""))


def owed(site: str, store: Path, centre: psycopg.Connection[Any]) -> list[str]:
    """Return what has not arrived yet; ``centre`` must be in autocommit mode."""
    # The centre after the store: whatever the store has seen, the centre has as well.
    with closing(look(store)) as connection:
        found, stand = _owed_here(connection)
    if not stand:
        return found
    epoch, last_n, own_pos, shared_pos = stand
    row = centre.execute(
        """SELECT (SELECT last_n FROM sync.epoch WHERE site = %(site)s AND epoch = %(epoch)s),
                  (SELECT pos FROM sync.feed_head WHERE scope = %(site)s),
                  (SELECT pos FROM sync.feed_head WHERE scope = '*'),
                  (SELECT count(*) FROM sync.touched)""",
        {"site": site, "epoch": epoch},
    ).fetchone()
    assert row is not None
    applied, own, shared, touched = (number or 0 for number in row)
    if applied != last_n:
        found.append(f"the centre has applied transaction {applied} of {last_n}")
    if (own, shared) != (own_pos, shared_pos):
        found.append(f"feeds stand at {own} and {shared}, the site at {own_pos} and {shared_pos}")
    if touched:
        found.append(f"{touched} rows of the centre are in no feed yet")
    return found


def _owed_here(connection: sqlite3.Connection) -> tuple[list[str], tuple[Any, ...]]:
    made = "SELECT count(*) FROM sqlite_schema WHERE name = '_sync_site'"
    if not connection.execute(made).fetchone()[0]:
        return ["the store is being made"], ()
    row = connection.execute(
        "SELECT epoch, last_n, own_pos, shared_pos, acked_n, needs_snapshot, stopped_because,"
        " (SELECT count(*) FROM _sync_in) FROM _sync_site"
    ).fetchone()
    if row is None:
        return ["the store is being made"], ()
    *stand, acked_n, needs_snapshot, stopped, kept = row
    found = [f"the agent stopped: {stopped}"] if stopped else []
    if kept:
        found.append(f"{kept} entries of the feeds wait for others")
    if needs_snapshot:
        found.append("a snapshot is to be loaded")
    if acked_n != stand[1]:
        found.append(f"transaction {acked_n} of {stand[1]} is decided")
    undrained = _undrained(connection)
    if undrained:
        found.append(f"{undrained} writes are not drained")
    return found, tuple(stand)


def _undrained(connection: sqlite3.Connection) -> int:
    """Return how many log rows and facts the agent has not taken yet."""
    logs = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_sync\\_log\\_%'"
        " ESCAPE '\\'"
    ).fetchall()
    marks = connection.execute("SELECT name, journal_mark FROM _sync_table").fetchall()
    facts = {
        name
        for (name,) in connection.execute(
            "SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c"
            " WHERE m.type = 'table' AND c.name = '_seq'"
        )
    }
    counts = [f'SELECT count(*) FROM "{name}"' for (name,) in logs]
    counts += [
        f'SELECT count(*) FROM "{name}" WHERE _seq > {mark}'
        for name, mark in marks
        if name in facts
    ]
    return sum(connection.execute(each).fetchone()[0] for each in counts)
