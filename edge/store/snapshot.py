"""Loads a snapshot: the site's whole share as the centre had it at one moment, chunk by chunk.

Chunks go into the live tables, each in a transaction of its own that moves ``next_chunk`` along, so
a load goes on after a kill and programs go on writing. What they write is drained before each chunk
and laid over its rows as over those of a feed. At the end the rows that the snapshot did not hold
are taken away: the centre no longer has them. Facts stay: they have no version here that could be
missing, and a snapshot holds the recent ones only.

The feed waits meanwhile, and goes on from the position at which the snapshot was made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge.store import again, ahead, aside, cursor, position, removals, taken
from edge.store.ack import settle_own
from edge.store.again import Brought
from edge.store.applying import Applying
from edge.store.comeback import bring_back
from edge.store.heads import Head, land, settle_row
from edge.store.open import silent, writing
from edge.store.outbox import is_own
from edge.store.puts import put_all
from edge.store.rollbacks import done_anew
from shared.changes import SHARED, Ack, Fate, Position
from shared.errors import ForkedHistory, MalformedMessage, StaleSnapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from edge.store.apply import DrainedFirst
    from edge.store.cursor import Cursor
    from edge.store.open import Opened
    from edge.store.target import Target
    from shared.changes import HeadBlock


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says of itself: the moment at which the centre read it."""

    own: Position
    shared: Position
    #: What the centre had decided of the site by then; its effects are in the rows.
    ack: Ack | None
    #: Highest order of any version by then.
    max_order: int
    schema: int
    #: Tables that it holds; of others it says nothing.
    tables: frozenset[str]
    #: Days of facts that it holds; None where it does not say.
    fact_days: int | None = None


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """A load under way."""

    id: str
    #: Counts the snapshots of this store; rows remember the last that held them.
    number: int
    next_chunk: int
    manifest: Manifest


def read_manifest(fields: Mapping[str, Any]) -> Manifest:
    """Return the manifest that the control service sent; MalformedMessage where it is none."""
    try:
        told = fields["ack"]
        epoch, n, safe_n = told or ("", 0, 0)
        return Manifest(
            own=Position(int(fields["own"][0]), bytes.fromhex(fields["own"][1])),
            shared=Position(int(fields["shared"][0]), bytes.fromhex(fields["shared"][1])),
            ack=Ack(epoch, n, safe_n, _ack_hash(fields)) if told else None,
            max_order=int(fields["max_order"]),
            schema=int(fields["schema"]),
            tables=frozenset(fields["tables"]),
            fact_days=fields.get("fact_days"),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        message = f"the snapshot's manifest can't be read: {error!r}"
        raise MalformedMessage(message) from error


def _ack_hash(fields: Mapping[str, Any]) -> bytes | None:
    """Return the hash of the last decided transaction; None where the centre did not say it yet."""
    told = fields.get("ack_hash")
    return None if told is None else bytes.fromhex(told)


def state(connection: sqlite3.Connection) -> SnapshotState | None:
    """Return the load under way, if there is one."""
    row = connection.execute(
        "SELECT id, number, next_chunk, manifest FROM _sync_snapshot"
    ).fetchone()
    if row is None:
        return None
    snapshot_id, number, next_chunk, manifest = row
    return SnapshotState(snapshot_id, number, next_chunk, read_manifest(json.loads(manifest)))


def brought(connection: sqlite3.Connection) -> Brought:
    """Return what the load under way has brought of what the centre decided."""
    under_way = state(connection)
    if under_way is None:
        return Brought()
    return Brought(under_way.number, _decided_n(cursor.read(connection), under_way.manifest))


def want(connection: sqlite3.Connection, reason: str, now_ms: int) -> None:
    """Note that the feed can't bring the store up to date any more. Inside a transaction."""
    (wanted,) = connection.execute("SELECT needs_snapshot FROM _sync_site").fetchone()
    if not wanted:
        connection.execute("UPDATE _sync_site SET needs_snapshot = 1")
        position.note(connection, "MES-SNAPSHOT-WANTED", reason, now_ms)


def begin(opened: Opened, snapshot_id: str, fields: Mapping[str, Any]) -> SnapshotState:
    """Start a load, or go on with it where this snapshot is under way already.

    Raises StaleSnapshot where the store knows of later decisions than the snapshot holds: it would
    show rows as they were before writes that have been decided. Raises ForkedHistory where the
    centre decided on transactions that this store never made.
    """
    manifest, connection = read_manifest(fields), opened.connection
    with writing(connection):
        under_way = state(connection)
        if under_way is not None and under_way.id == snapshot_id:
            return under_way
        at = cursor.read(connection)
        decided_n = _decided_n(at, manifest)
        if decided_n > at.last_n:
            message = f"the centre decided on n {decided_n}, this store has made {at.last_n} only"
            raise ForkedHistory(message)
        if decided_n and not is_own(connection, manifest.ack):
            message = f"the centre decided on another n {decided_n} than this store has made"
            raise ForkedHistory(message)
        if decided_n < at.acked_n:
            message = f"snapshot {snapshot_id} ends before n {at.acked_n}, which is decided"
            raise StaleSnapshot(message)
        again.forget_done(connection, brought(connection))
        (number,) = connection.execute(
            "UPDATE _sync_site SET needs_snapshot = 1, snapshots = snapshots + 1"
            " RETURNING snapshots"
        ).fetchone()
        connection.execute(
            "INSERT OR REPLACE INTO _sync_snapshot (one, id, number, manifest, next_chunk)"
            " VALUES (1, ?, ?, ?, 0)",
            (snapshot_id, number, json.dumps(dict(fields))),
        )
        # Whole rows of tables not known here all come again, or are gone.
        connection.execute("DELETE FROM _sync_extra WHERE column_name = ''")
        connection.execute("DELETE FROM _sync_in")
    return SnapshotState(snapshot_id, number, 0, manifest)


def apply_chunk(
    opened: Opened, k: int, blocks: Sequence[HeadBlock], *, now_ms: int, drained: DrainedFirst
) -> int:
    """Apply chunk ``k`` and return its number of rows; 0 where it was applied before.

    Raises StaleSnapshot where no load is under way, or an earlier chunk is missing.
    """
    connection = opened.connection
    with drained():
        under_way = _under_way(connection)
        if k < under_way.next_chunk:
            return 0
        if k > under_way.next_chunk:
            message = f"chunk {k} came, chunk {under_way.next_chunk} is the next one"
            raise StaleSnapshot(message)
        applying = _applying(opened, cursor.read(connection), under_way, now_ms)
        with silent(connection):
            for block in blocks:
                with ahead.followed(opened, block):
                    land(applying, block, under_way.manifest.schema)
        connection.execute("UPDATE _sync_snapshot SET next_chunk = ?", (k + 1,))
    return applying.rows


def finish(opened: Opened, *, now_ms: int, drained: DrainedFirst) -> None:
    """End the load: take away what the centre no longer has, and follow the feeds from there."""
    done_anew(partial(_finish, opened, now_ms, drained))


def _finish(opened: Opened, now_ms: int, drained: DrainedFirst) -> None:
    connection = opened.connection
    with drained():
        under_way, at = _under_way(connection), cursor.read(connection)
        manifest = under_way.manifest
        applying = _applying(opened, at, under_way, now_ms)
        at.decide(manifest.ack, now_ms)
        at.own, at.shared = manifest.own, manifest.shared
        at.needs_snapshot, at.waits_since_ms = False, None
        with silent(connection):
            for name in sorted(manifest.tables):
                target = applying.target(name)
                if target is not None:
                    _take_missing(applying, target, manifest.max_order)
            settle_own(applying)
            bring_back(applying, everywhere=True)
        _note_kept_from(connection, manifest, now_ms)
        connection.execute("DELETE FROM _sync_snapshot")
        connection.execute("UPDATE _sync_site SET void_since = NULL")
        for scope, link in ((at.site, at.own), (SHARED, at.shared)):
            cursor.start_trail(connection, scope, link)
        cursor.save(connection, at)
        again.forget_done(connection, Brought())
        ahead.forget_all(connection)
        taken.forget(connection)
        _note_asides(connection, now_ms)


def _note_kept_from(connection: sqlite3.Connection, manifest: Manifest, now_ms: int) -> None:
    """Note from which day on a new store has all facts: a first snapshot brings no older ones."""
    loaded_before = connection.execute("SELECT 1 FROM _sync_seen LIMIT 1").fetchone()
    if loaded_before is None and manifest.fact_days is not None:
        # A day later: the centre counted from its own clock, and days here are whole.
        days = now_ms / 86_400_000 - manifest.fact_days + 1
        connection.execute(
            "UPDATE _sync_table SET kept_from = date(?, 'unixepoch')", (int(days) * 86_400,)
        )


def _decided_n(at: Cursor, manifest: Manifest) -> int:
    ack = manifest.ack
    return ack.n if ack is not None and ack.epoch == at.epoch else 0


def _under_way(connection: sqlite3.Connection) -> SnapshotState:
    found = state(connection)
    if found is None:
        message = "no snapshot is being loaded; ask for one"
        raise StaleSnapshot(message)
    return found


def _applying(opened: Opened, at: Cursor, under_way: SnapshotState, now_ms: int) -> Applying:
    decided_n = _decided_n(at, under_way.manifest)
    return Applying(opened, at.epoch, decided_n, now_ms, snapshot=under_way.number)


# --- rows that the snapshot did not hold ---------------------------------------------------------

#: Rows of a table that the centre had once, by the version noted here, and no longer has.
_MISSING: Final = """FROM _sync_row r
    WHERE r.table_no = :no AND r.seen < :number AND r.ord <= :max_order"""
_UNTOUCHED: Final = """AND NOT EXISTS
    (SELECT 1 FROM _sync_pending p WHERE p.table_no = r.table_no AND p.id = r.id)"""


def _take_missing(applying: Applying, target: Target, max_order: int) -> None:
    """Take away the rows of a table that the centre no longer has."""
    given = {
        "no": target.no, "number": applying.snapshot, "max_order": max_order,
        "decided_n": applying.decided_n, "name": target.name,
    }  # fmt: skip
    _settle_written(applying, target, given)
    # An insert that waits for a decision has no version here; it is not missing, it is new.
    missing = f"SELECT r.id {_MISSING} {_UNTOUCHED}"
    _take_away(applying, target, missing, given)
    for statement in (
        f"DELETE FROM _sync_shadow WHERE table_no = :no AND id IN ({missing})",
        f"DELETE FROM _sync_extra WHERE table_name = :name AND id IN ({missing})",
        "DELETE FROM _sync_aside WHERE table_name = :name"
        f" AND code IN ('{aside.UNIQUE}', '{aside.LEFT}', '{aside.REFUSED}') AND id IN ({missing})",
        f"DELETE FROM _sync_row WHERE table_no = :no AND id IN ({missing})",
        # Heads of rows that never stood, which no version here could be missing of. A removal that
        # was refused is none: its row stands, and stays listed.
        "DELETE FROM _sync_aside WHERE table_name = :name"
        f" AND code IN ('{aside.UNIQUE}', '{aside.REFUSED}') AND content <> '{aside.NO_ROW}'"
        " AND ord BETWEEN 1 AND :max_order AND seen < :number",
    ):
        applying.connection.execute(statement, given)


def _take_away(
    applying: Applying, target: Target, missing: str, given: Mapping[str, object]
) -> None:
    """Take the missing rows away; those that stand still are listed, and not missing any more."""
    if not target.one_by_one:
        try:
            applying.connection.execute(
                f"DELETE FROM {target.quoted} WHERE id IN ({missing})", given
            )
        except aside.REFUSALS as error:
            aside.reason_of(applying, target, error)
        else:
            return
    ids = [row_id for (row_id,) in applying.connection.execute(missing, given)]
    for row_id, reason in removals.take_away(applying, target, ids).items():
        removals.keep(applying, target, row_id, reason)


def _settle_written(applying: Applying, target: Target, given: Mapping[str, object]) -> None:
    """Treat the missing rows that the site wrote on as gone, as a head would tell it.

    The version that stood stays the base, at its own order: the deletion has another, and is news
    when the feed brings it. Of a version that the site itself wrote, the order is not known.
    """
    rows = applying.connection.execute(
        f"""SELECT r.id, (SELECT s.fate FROM _sync_shadow s
                          WHERE s.table_no = r.table_no AND s.id = r.id AND s.fate = '{Fate.LEFT}'),
               r.version, max(r.ord, 1) {_MISSING} AND EXISTS
            (SELECT 1 FROM _sync_pending p WHERE p.table_no = r.table_no AND p.id = r.id)
        UNION ALL
        SELECT DISTINCT p.id, NULL, '', 0 FROM _sync_pending p
        WHERE p.table_no = :no AND p.n <= :decided_n AND NOT EXISTS
            (SELECT 1 FROM _sync_row r WHERE r.table_no = p.table_no AND r.id = p.id)""",
        given,
    ).fetchall()
    puts = [
        settle_row(applying, target, Head(row_id, Fate(left or Fate.GONE), {}, version, order))
        for row_id, left, version, order in rows
    ]
    put_all(applying, target, [put for put in puts if put is not None])


def _note_asides(connection: sqlite3.Connection, now_ms: int) -> None:
    """Tell the operator of the rows that could not be put where the snapshot has them."""
    rows = connection.execute(
        "SELECT table_name, code, count(*), min(id) FROM _sync_aside WHERE code IN (?, ?)"
        " GROUP BY table_name, code",
        (aside.UNIQUE, aside.REFUSED),
    )
    for table, code, count, first in rows.fetchall():
        message = f"{count} rows of {table} are set aside ({code}), {first} first"
        position.note(connection, "MES-ROW-ASIDE", message, now_ms)
