"""Where a store stands: its chain, the feeds it follows, and what waits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

#: Events beyond this are forgotten, oldest first.
EVENTS_MAX = 1_000
MESSAGE_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class EdgePosition:
    """Everything in ``_sync_site``."""

    site: str
    #: Host and path; a mismatch means that the file was copied.
    instance: str
    epoch: str
    last_n: int
    last_hash: bytes
    hlc: int
    acked_n: int
    acked_at_ms: int | None
    safe_n: int
    own_pos: int
    own_hash: bytes
    shared_pos: int
    shared_hash: bytes
    #: Centre's clock minus ours.
    offset_ms: int
    offset_at_ms: int | None
    needs_snapshot: bool
    stopped_because: str | None


def read(connection: sqlite3.Connection) -> EdgePosition:
    """Return where the store stands."""
    names = [each.name for each in fields(EdgePosition)]
    row = connection.execute(f"SELECT {', '.join(names)} FROM _sync_site").fetchone()
    values = dict(zip(names, row, strict=True))
    return EdgePosition(**values | {"needs_snapshot": bool(values["needs_snapshot"])})


def set_offset(connection: sqlite3.Connection, offset_ms: int, now_ms: int) -> None:
    """Remember the centre's clock minus ours, measured at ``now_ms``."""
    connection.execute("UPDATE _sync_site SET offset_ms = ?, offset_at_ms = ?", (offset_ms, now_ms))


def note(connection: sqlite3.Connection, code: str, message: str, now_ms: int) -> None:
    """Keep an event for the operator; the oldest are forgotten beyond ``EVENTS_MAX``."""
    connection.execute(
        "INSERT INTO _sync_event (at_ms, code, message) VALUES (?, ?, ?)",
        (now_ms, code, message[:MESSAGE_CHARS_MAX]),
    )
    connection.execute(
        "DELETE FROM _sync_event WHERE no <= (SELECT max(no) FROM _sync_event) - ?", (EVENTS_MAX,)
    )
