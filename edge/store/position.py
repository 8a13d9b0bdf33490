"""Where a store stands: its chain, the feeds it follows, and what waits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from shared.changes import Position

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

#: Events beyond this are forgotten, oldest first.
EVENTS_MAX = 1_000
MESSAGE_CHARS_MAX = 2_000
#: Rows that a message names; the others are counted.
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class EdgePosition:
    """Everything in ``_sync_site``, and the catalogue's version."""

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
    #: Where the file was before a person said that it had been moved.
    moved_from: str | None
    #: Version of the catalogue that the tables stand at.
    schema: int

    @property
    def own(self) -> Position:
        """Return the last link taken of the site's own feed."""
        return Position(self.own_pos, self.own_hash)

    @property
    def shared(self) -> Position:
        """Return the last link taken of the feed that all sites follow."""
        return Position(self.shared_pos, self.shared_hash)


def read(connection: sqlite3.Connection) -> EdgePosition:
    """Return where the store stands."""
    names = [each.name for each in fields(EdgePosition) if each.name != "schema"]
    row = connection.execute(
        f"SELECT {', '.join(names)},"
        " (SELECT version FROM _sync_catalogue ORDER BY rowid DESC LIMIT 1) FROM _sync_site"
    ).fetchone()
    values = dict(zip((*names, "schema"), row, strict=True))
    return EdgePosition(**values | {"needs_snapshot": bool(values["needs_snapshot"])})


def set_offset(connection: sqlite3.Connection, offset_ms: int, now_ms: int) -> None:
    """Remember the centre's clock minus ours, measured at ``now_ms``."""
    connection.execute("UPDATE _sync_site SET offset_ms = ?, offset_at_ms = ?", (offset_ms, now_ms))


def stop(connection: sqlite3.Connection, why: str, now_ms: int) -> None:
    """Note that a person has to look before anything is sent or received again."""
    connection.execute("UPDATE _sync_site SET stopped_because = ?", (why[:MESSAGE_CHARS_MAX],))
    note(connection, "MES-STOPPED", why, now_ms)


def named(ids: Sequence[str]) -> str:
    """Return rows as a message names them: some of them, and how many more there are."""
    more = f" and {len(ids) - _NAMED_MAX} more" if len(ids) > _NAMED_MAX else ""
    return f"{', '.join(ids[:_NAMED_MAX])}{more}"


def note(connection: sqlite3.Connection, code: str, message: str, now_ms: int) -> None:
    """Keep an event for the operator; the oldest are forgotten beyond ``EVENTS_MAX``."""
    connection.execute(
        "INSERT INTO _sync_event (at_ms, code, message) VALUES (?, ?, ?)",
        (now_ms, code, message[:MESSAGE_CHARS_MAX]),
    )
    connection.execute(
        "DELETE FROM _sync_event WHERE no <= (SELECT max(no) FROM _sync_event) - ?", (EVENTS_MAX,)
    )
