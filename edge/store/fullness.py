"""Refuses new facts while the store's disk is nearly full, so that everything else can go on.

What the site still owes is never thrown away, so an outbox may fill a disk; and then nobody could
write at all. Facts are nearly all that is written. So the agent stops them a while before, by
triggers that the programs meet like any other rule; two-way rows, and what comes from the centre,
go on. The triggers stay in the file when the agent ends, and the next one looks again.

Their names do not begin as those of the capture do: setting those up again leaves these alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.capture import WRITING
from edge.sql_text import literal, quoted
from edge.store import position
from edge.store.open import writing
from shared.errors import BadSetting

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from edge.store.open import Opened
    from shared.catalog import Catalog

CODE: Final = "MES-DISK-FULL"
#: What the names of these triggers begin with, and only theirs.
PREFIX: Final = "mes_disk_full_"
#: At least one of so many bytes of room must be on the disk itself: the WAL grows there.
ROOM_PER_FREE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes of room below which new facts are refused, and above which they are taken again."""

    stop: int
    go: int

    def __post_init__(self) -> None:
        """Raise BadSetting where facts would be refused and taken at once."""
        if not 0 <= self.stop <= self.go:
            raise BadSetting(
                f"MES_FACTS_STOP_BYTES={self.stop} must not be negative,"
                f" nor more than MES_FACTS_GO_BYTES={self.go}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Bytes in which new rows have a place."""

    #: On the disk, for the account of the agent.
    disk_free: int
    #: In the store's file, whose size stays when the outbox is pruned.
    file_free: int = 0

    @property
    def size(self) -> int:
        """Return the room; what is free in the file counts while the WAL has its place, too."""
        return min(self.disk_free + self.file_free, ROOM_PER_FREE * self.disk_free)


def must_refuse(room: Room, limits: Limits, *, refusing: bool) -> bool:
    """Decide whether facts are to be refused; between the limits it stays as it is."""
    return room.size < (limits.go if refusing else limits.stop)


def is_refusal(error: BaseException) -> bool:
    """Return whether a write failed because facts are refused for want of room."""
    return str(error).startswith(CODE)


def keep_room(opened: Opened, limits: Limits, now_ms: int) -> bool:
    """Refuse or take facts, as the room left tells; return whether they are refused now."""
    found = _found(opened.connection)
    room = room_of(opened)
    refused = must_refuse(room, limits, refusing=bool(found))
    wanted = _wanted(opened.catalog) if refused else {}
    if wanted == found:
        return refused
    with writing(opened.connection):
        _put(opened.connection, found, wanted)
        if refused != bool(found):
            position.note(opened.connection, CODE, _told(room, limits, refused=refused), now_ms)
    return refused


def room_of(opened: Opened) -> Room:
    """Return the room that the store has now."""
    disk = os.statvfs(opened.path.resolve().parent)
    (pages,) = opened.connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = opened.connection.execute("PRAGMA page_size").fetchone()
    return Room(disk_free=disk.f_bavail * disk.f_frsize, file_free=pages * size)


def _found(connection: sqlite3.Connection) -> Mapping[str, str]:
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB ?"
    return dict(connection.execute(query, (f"{PREFIX}*",)))


def _put(
    connection: sqlite3.Connection, found: Mapping[str, str], wanted: Mapping[str, str]
) -> None:
    for name, text in found.items():
        if wanted.get(name) != text:
            connection.execute(f"DROP TRIGGER {quoted(name)}")
    for name, text in wanted.items():
        if found.get(name) != text:
            connection.execute(text)


def _wanted(catalog: Catalog) -> Mapping[str, str]:
    """Return the triggers that refuse new facts: name -> statement."""
    found = {}
    for table in catalog.tables:
        if table.fact:
            name, message = f"{PREFIX}{table.name}", _message(table.name)
            found[name] = (
                f"CREATE TRIGGER {quoted(name)} BEFORE INSERT ON {quoted(table.name)}\n"
                f"WHEN {WRITING}\nBEGIN\n  SELECT RAISE(ABORT, {literal(message)});\nEND"
            )
    return found


def _message(table: str) -> str:
    return (
        f"{CODE}: the store's disk is nearly full, so {table} takes no new rows;"
        " make room on the disk and write again (`mes-sync status` tells how much is left)"
    )


def _told(room: Room, limits: Limits, *, refused: bool) -> str:
    left = f"{room.size // 1_000_000} MB of room are left"
    if refused:
        return f"{left}: new facts are refused until there are {limits.go // 1_000_000} MB"
    return f"{left}: facts are taken again"
