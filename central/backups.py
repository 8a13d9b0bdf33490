"""The backups that the centre may be restored from, as whoever takes them marks them.

Sites keep what they sent until it is inside the oldest of them (protocol, rule 8). A mark before a
backup begins notes how far each chain was applied: all of that is in it for certain. A backup that
was begun lifts nothing yet, and holds back already: once it is finished, nobody may have let go of
what it lacks. So does the copy of itself that a restored centre finds in its table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from shared.errors import BadSetting, SyncError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

#: Taken alone by a mark, and together by the upkeep: none moves ``safe`` while another counts.
MARK_LOCK: Final = 0x6D65_7302
#: As the table's own check.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}")
#: Daily backups, and two hours for one to be taken.
LATE_HOURS: Final = 26.0


class UnknownBackup(SyncError):
    """No backup of this name was begun; `mes-central backup list` names those that were."""


class NotMarked(SyncError):
    """The backup is not in a state in which it can be marked so."""


class Mark(StrEnum):
    """What is said of a backup; also the state that it is in since."""

    BEGUN = "begun"
    FINISHED = "finished"
    FAILED = "failed"
    GONE = "gone"  #: it can no longer be restored


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup, as it was marked."""

    name: str
    #: All that was committed by then is in it.
    begun_at: datetime
    finished_at: datetime | None = None
    failed_at: datetime | None = None
    gone_at: datetime | None = None

    @property
    def state(self) -> Mark:
        """Return what was said of it last."""
        if self.gone_at:
            return Mark.GONE
        if self.failed_at:
            return Mark.FAILED
        return Mark.FINISHED if self.finished_at else Mark.BEGUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """All backups at a glance, and how old the newest may become."""

    #: Since one was finished, age counts no more, also when all are gone.
    ever_finished: bool = False
    restorable: int = 0
    newest: Backup | None = None
    #: What is not in it, sites keep.
    oldest: Backup | None = None
    #: The first that was begun, and of which nobody has said how it ended.
    unended: Backup | None = None
    late_hours: float = LATE_HOURS


# --- what is said of them ------------------------------------------------------------------------


def why_late(backups: Backups, now: datetime) -> str:
    """Return why sites are not protected as they should be; empty where they are."""
    if not backups.ever_finished:
        return ""
    if backups.newest is None:
        return "no backup is left that may be restored: sites keep all that they send"
    hours = (now - backups.newest.begun_at) / timedelta(hours=1)
    if hours <= backups.late_hours:
        return ""
    return f"the newest backup, {backups.newest.name}, is {hours:.0f} h old"


def why_unended(backups: Backups, now: datetime) -> str:
    """Return which backup should have ended by now; empty where none is begun for so long."""
    unended = backups.unended
    if unended is None:
        return ""
    hours = (now - unended.begun_at) / timedelta(hours=1)
    if hours <= backups.late_hours:
        return ""
    return f"backup {unended.name} was begun {hours:.0f} h ago, and nobody said how it ended"


def summary(backups: Sequence[Backup], late_hours: float) -> Backups:
    """Return all backups at a glance."""
    by_age = sorted(backups, key=lambda each: (each.begun_at, each.name))
    restorable = [each for each in by_age if each.state is Mark.FINISHED]
    return Backups(
        ever_finished=any(each.finished_at for each in by_age),
        restorable=len(restorable),
        newest=restorable[-1] if restorable else None,
        oldest=restorable[0] if restorable else None,
        unended=next((each for each in by_age if each.state is Mark.BEGUN), None),
        late_hours=late_hours,
    )


# --- marking -------------------------------------------------------------------------------------


def check_name(name: str) -> str:
    """Return the name; raise BadSetting where it can't be a backup's."""
    if not _NAME.fullmatch(name):
        raise BadSetting(
            f"{name!r} can't be a backup's name: 1 to 100 of A-Z, a-z, 0-9 and . _ : + -, the"
            " first a letter or digit"
        )
    return name


def is_new(known: Backup | None, name: str, mark: Mark) -> bool:
    """Return whether a mark says anything new of a backup; raise where it can't be said of it.

    Raise UnknownBackup, or NotMarked with what to do instead.
    """
    if mark is Mark.BEGUN:
        return _may_begin(known)
    if known is None:
        raise UnknownBackup(
            f"no backup {name} was begun; of one that was taken without a mark nobody knows what"
            f" is in it: run `mes-central backup mark {name}`, then take it"
        )
    if mark is known.state or (mark is Mark.GONE and known.gone_at):
        return False
    if mark is Mark.FINISHED and known.state is not Mark.BEGUN:
        raise NotMarked(f"{name} is marked as {known.state}; take another backup, and mark that")
    if mark is Mark.FAILED and known.state is not Mark.BEGUN:
        raise NotMarked(
            f"{name} is marked as {known.state}; one that was finished and can't be restored is"
            f" gone: `mes-central backup mark {name} --gone`"
        )
    if mark is Mark.GONE and known.state is Mark.BEGUN:
        raise NotMarked(
            f"{name} was begun and may still be taken; if it is not, then"
            f" `mes-central backup mark {name} --failed`"
        )
    return True


def _may_begin(known: Backup | None) -> bool:
    if known is None or (known.state is Mark.FAILED):
        return True
    if known.state is Mark.BEGUN:
        # What was noted then is in it as well: a script may say it twice.
        return False
    raise NotMarked(
        f"there was a backup {known.name} already, which is {known.state}; give each backup a name"
        f" of its own, such as {known.name}-2"
    )


async def set_mark(connection: AsyncConnection[Any], name: str, mark: Mark) -> bool:
    """Mark a backup; return whether that says anything new. The transaction is committed.

    A backup has to begin after its mark, and to read this server, not one that follows it.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [MARK_LOCK])
        if not is_new(await _find(connection, name), name, mark):
            return False
        if mark in (Mark.BEGUN, Mark.FAILED, Mark.GONE):
            await connection.execute("DELETE FROM sync.backup_position WHERE backup = %s", [name])
        for statement in _MARKS[mark]:
            await connection.execute(statement, {"name": name})
    return True


_BEGIN: Final = """
INSERT INTO sync.backup (name, begun_at) VALUES (%(name)s, statement_timestamp())
ON CONFLICT (name) DO UPDATE SET begun_at = excluded.begun_at, failed_at = NULL"""

_NOTE_POSITIONS: Final = """
INSERT INTO sync.backup_position (backup, site, epoch, last_n, through_ms)
SELECT %(name)s, e.site, e.epoch, e.last_n, coalesce(c.through_ms, 0)
FROM sync.epoch AS e JOIN sync.complete_through AS c USING (site)"""

_MARKS: Final = {
    Mark.BEGUN: (_BEGIN, _NOTE_POSITIONS),
    Mark.FINISHED: ("UPDATE sync.backup SET finished_at = now() WHERE name = %(name)s",),
    Mark.FAILED: ("UPDATE sync.backup SET failed_at = now() WHERE name = %(name)s",),
    Mark.GONE: ("UPDATE sync.backup SET gone_at = now() WHERE name = %(name)s",),
}


# --- reading -------------------------------------------------------------------------------------

_BACKUPS: Final = "SELECT name, begun_at, finished_at, failed_at, gone_at FROM sync.backup"


async def read_backups(connection: AsyncConnection[Any]) -> list[Backup]:
    """Return all backups that were ever marked, the latest first."""
    async with connection.cursor(row_factory=class_row(Backup)) as cursor:
        await cursor.execute(f"{_BACKUPS} ORDER BY begun_at DESC, name DESC")
        return await cursor.fetchall()


# Those that count, and one that was ever finished: of years of others nothing is read.
_COUNTING: Final = f"""
{_BACKUPS} WHERE failed_at IS NULL AND gone_at IS NULL
UNION (SELECT name, begun_at, finished_at, failed_at, gone_at FROM sync.backup
       WHERE finished_at IS NOT NULL LIMIT 1)"""


async def read_summary(connection: AsyncConnection[Any], late_hours: float = LATE_HOURS) -> Backups:
    """Return the backups at a glance."""
    async with connection.cursor(row_factory=class_row(Backup)) as cursor:
        await cursor.execute(_COUNTING)
        return summary(await cursor.fetchall(), late_hours)


async def find_backup(connection: AsyncConnection[Any], name: str) -> Backup:
    """Return a backup by its name; raise UnknownBackup."""
    found = await _find(connection, name)
    if found is None:
        raise UnknownBackup(f"no backup {name} was begun; see `mes-central backup list`")
    return found


async def _find(connection: AsyncConnection[Any], name: str) -> Backup | None:
    async with connection.cursor(row_factory=class_row(Backup)) as cursor:
        await cursor.execute(f"{_BACKUPS} WHERE name = %s", [name])
        return await cursor.fetchone()


# Of a site: until when all that it committed is in each backup that may be restored. One in which
# there is nothing of the site leaves nothing to say.
_THROUGH: Final = """
SELECT min(coalesce(p.through_ms, 0)) FROM sync.backup AS b LEFT JOIN (
    SELECT backup, max(through_ms) AS through_ms FROM sync.backup_position
    WHERE site = %(site)s GROUP BY backup) AS p ON p.backup = b.name
WHERE b.finished_at IS NOT NULL AND b.failed_at IS NULL AND b.gone_at IS NULL"""


async def told_to_site(
    connection: AsyncConnection[Any], site: str, *, late_hours: float, now_ms: int
) -> dict[str, Any]:
    """Return what a site is told of its protection with the answer to its hello.

    ``through_ms``: all that it committed until then is in every backup that may be restored; None
    where nothing is, or nothing is known. ``why`` is empty where all is well with the backups.
    """
    backups = await read_summary(connection, late_hours)
    row = await (await connection.execute(_THROUGH, {"site": site})).fetchone()
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return {
        "marked": backups.ever_finished,
        "through_ms": (row[0] if row else None) or None,
        "newest_ms": round(backups.newest.begun_at.timestamp() * 1000) if backups.newest else None,
        "why": why_late(backups, now) or why_unended(backups, now),
    }
