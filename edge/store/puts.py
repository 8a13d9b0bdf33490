"""Rows put into a table one by one, making way where another row has their key.

The slow way, for the few rows that the set-wise statement can't take: rows with undecided writes,
and blocks in which SQLite refused one. The queue never stops here: a row that can't be put is set
aside, with the reason, and the next one goes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge.sql_text import quoted
from edge.store import aside, extra, knock_on, uncaptured

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from edge.store.applying import Applying
    from edge.store.target import Target
    from shared.changes import Value

#: Rows that may have to make way for one, each for another key.
CLASHES_MAX: Final = 8
_UNIQUE_FAILED = re.compile(r"UNIQUE constraint failed: (.*)", re.DOTALL)


@dataclass(slots=True)
class Put:
    """A row as it is to be shown, and the head that stands behind it."""

    id: str
    #: Its keys and the columns to set; others stay as they are.
    row: dict[str, Value]
    #: None where the centre never had one.
    version: str | None
    order: int
    #: Whether undecided writes of the site are in it.
    own: bool = False
    #: Whether the head is that of a row which is gone; own writes may keep it in sight.
    gone: bool = False


@dataclass(slots=True)
class _Batch:
    """Puts of one table: those still to come, and those that stand."""

    waiting: dict[str, Put]
    standing: dict[str, Put] = field(default_factory=dict)


def put_all(applying: Applying, target: Target, puts: Iterable[Put]) -> None:
    """Put the rows, whatever order their keys allow: two that swap a key end up swapped."""
    batch = _Batch({put.id: put for put in puts})
    while batch.waiting:
        put = batch.waiting.pop(next(iter(batch.waiting)))
        if _put(applying, target, put, batch):
            batch.standing[put.id] = put


def _put(applying: Applying, target: Target, put: Put, batch: _Batch) -> bool:
    """Put a row and return whether it stands in the table now."""
    reason = ""
    for _ in range(CLASHES_MAX):
        try:
            write(applying, target, put)
        except aside.REFUSALS as error:
            reason = aside.reason_of(applying, target, error)
        else:
            note_version(applying, target, put)
            aside.drop(applying, target, put.id)
            return True
        blockers = _blockers(applying, target, put, reason)
        if not blockers:
            break
        if not all(_may_move(applying, target, each, put, batch) for each in blockers):
            return _set_own_aside(applying, target, put, reason) if put.own else _refuse(
                applying, target, put, reason
            )  # fmt: skip
        wanted = put, key_of(target, reason)
        if not all(_make_way(applying, target, each, wanted, batch) for each in blockers):
            break  # one is kept where it stands: this one waits for its key
    return _refuse(applying, target, put, reason)


def write(applying: Applying, target: Target, put: Put) -> None:
    """Put a row into its table; raise what SQLite raises where it does not take it."""
    # Not an upsert: it would ask a row that stands for the columns that were not sent.
    changes = _changes(applying, target, put)
    stood = uncaptured.standing(applying, target, put.id)
    before = knock_on.standing(applying, target, [put.id])
    # An update that finds nothing can fail all the same: by a trigger that can't be run here.
    if changes and (not target.stirred or knock_on.exists(applying, target, put.id)):
        update, given = target.update(tuple(changes)), (*changes.values(), put.id)
        found = knock_on.put_row(applying, target, put.id, update, given)
    else:
        found = int(knock_on.exists(applying, target, put.id))
    if not found:
        _insert(applying, target, put, before)
    if target.stirred and not knock_on.exists(applying, target, put.id):
        knock_on.log_gone(applying, target, put.row)
    knock_on.log_own(applying, target, before, {put.id: changes})
    uncaptured.keep_changed(applying, target, stood, put.row)


def _changes(applying: Applying, target: Target, put: Put) -> dict[str, Value]:
    """Return what a row that stands has to be given.

    Its date where it has another: in the same statement, so that a trigger which does not allow
    that leaves the row as it was. Else not, as the plant may have triggers on it.
    """
    changes = {k: v for k, v in put.row.items() if k not in ("id", "site_id", "created_at")}
    if "created_at" in put.row and not target.keeps_dates:
        date, other = put.row["created_at"], "WHERE id = ? AND created_at IS NOT ?"
        query = f"SELECT 1 FROM {target.quoted} {other}"
        if applying.connection.execute(query, (put.id, date)).fetchone():
            changes["created_at"] = date
    return changes


def _insert(
    applying: Applying, target: Target, put: Put, before: Mapping[str, Mapping[str, Value]]
) -> None:
    """Insert a row that no update has found; raise RowIgnored where a trigger passes over it."""
    if target.stirred and knock_on.exists(applying, target, put.id):
        knock_on.log_own(applying, target, before, {put.id: {}})  # what the trigger did instead
        raise knock_on.ignored(target)
    insert, given = target.insert(tuple(put.row)), tuple(put.row.values())
    if not knock_on.put_row(applying, target, put.id, insert, given):
        knock_on.check_stands(applying, target, put.id)


def _blockers(applying: Applying, target: Target, put: Put, reason: str) -> Sequence[str]:
    """Return the ids of the rows that have the key which SQLite says is taken."""
    columns = key_of(target, reason)
    row = {**(target.read(applying.connection, put.id) or {}), **put.row}
    if not columns or not all(name in row for name in columns):
        return ()
    same = " AND ".join(f"{quoted(name)} = ?" for name in columns)
    rows = applying.connection.execute(
        f"SELECT id FROM {target.quoted} WHERE {same} AND id <> ?",
        (*(row[name] for name in columns), put.id),
    )
    return [row_id for (row_id,) in rows]


def key_of(target: Target, reason: str) -> list[str]:
    """Return the columns of the key that SQLite says is taken; none where it does not tell."""
    found = _UNIQUE_FAILED.fullmatch(reason)
    if found is None or found[1].startswith("index "):
        return []
    return [target.spelled(name.rpartition(".")[2]) for name in found[1].split(", ")]


def _may_move(applying: Applying, target: Target, row_id: str, put: Put, batch: _Batch) -> bool:
    """Return whether a row has to make way for ``put``.

    The centre's rows come first, a row with undecided writes of the site after them, and of two
    equal ones the later. Two heads that came together can't both be right, so one is refused.
    """
    if row_id in batch.waiting:
        return True
    if put.own:
        return is_undecided(applying, target, row_id)
    return row_id not in batch.standing or batch.standing[row_id].own


def _make_way(
    applying: Applying, target: Target, row_id: str, wanted: tuple[Put, list[str]], batch: _Batch
) -> bool:
    """Take a row out of the way of another with its key; return whether it went."""
    put, key = wanted
    row = target.read(applying.connection, row_id)
    if row is None:  # a trigger took it away along with another
        return True
    if not knock_on.clear(applying, target, row_id):
        return False
    version = aside.removal(applying, target, row_id)
    if row_id in batch.waiting:  # it comes back in a moment, with another key
        batch.waiting[row_id].row = {**row, **batch.waiting[row_id].row}
    elif version is not None and not is_undecided(applying, target, row_id):
        end_removal(applying, target, row_id, version)
    else:
        why = aside.Why(aside.UNIQUE, f"row {put.id} has its key now", key)
        aside.keep(applying, target, row, why)
    return True


def _set_own_aside(applying: Applying, target: Target, put: Put, reason: str) -> bool:
    """Take an undecided row of the site out of sight: a row of the centre has its key."""
    row = {**(target.read(applying.connection, put.id) or {}), **put.row}
    if not knock_on.clear(applying, target, put.id):
        return _refuse(applying, target, put, reason)
    aside.keep(applying, target, row, aside.Why(aside.UNIQUE, reason, key_of(target, reason)))
    note_version(applying, target, put)
    return False


def _refuse(applying: Applying, target: Target, put: Put, reason: str) -> bool:
    """Set a head aside that can't be put. The row stays as it was, under its old version.

    A later write on it must not claim to have seen this head.
    """
    code = aside.UNIQUE if _UNIQUE_FAILED.fullmatch(reason) else aside.REFUSED
    why = aside.Why(code, reason, key_of(target, reason) if code == aside.UNIQUE else None)
    aside.drop(applying, target, put.id, aside.UNIQUE, aside.REFUSED)  # older than this one
    aside.keep(applying, target, put.row, why, (put.version or "", put.order))
    mark_seen(applying, target, [put.id])
    return False


# --- rows and their versions ------------------------------------------------------------------

NOTE_VERSION: Final = """
    INSERT INTO _sync_row (table_no, id, version, ord, gone, seen) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (table_no, id) DO UPDATE SET version = excluded.version, ord = excluded.ord,
    gone = excluded.gone, seen = max(seen, excluded.seen)"""


def note_version(applying: Applying, target: Target, put: Put) -> None:
    """Note the head that stands behind a row: what the next write on it is based on."""
    if put.version is None:
        forget_version(applying, target, put.id)
        return
    applying.connection.execute(
        NOTE_VERSION,
        (
            target.no, put.id, put.version, put.order, applying.now_ms if put.gone else 0,
            applying.snapshot,
        ),
    )  # fmt: skip


def end_removal(applying: Applying, target: Target, row_id: str, version: tuple[str, int]) -> None:
    """Note that a row is gone whose removal had been refused."""
    known, order = version
    note_version(applying, target, Put(row_id, {}, known or None, order, gone=True))
    extra.forget(applying, target.name, [row_id])
    aside.drop(applying, target, row_id, aside.REFUSED)


def forget_version(applying: Applying, target: Target, row_id: str) -> None:
    """Forget the version of a row that the centre does not have, and did not delete."""
    applying.connection.execute(
        "DELETE FROM _sync_row WHERE table_no = ? AND id = ?", (target.no, row_id)
    )


def mark_seen(applying: Applying, target: Target, ids: Sequence[str]) -> None:
    """Note that the snapshot under way holds these rows, also where their heads stand aside."""
    if applying.snapshot:
        for table, key, name in (
            ("_sync_row", "table_no", target.no), ("_sync_aside", "table_name", target.name),
        ):  # fmt: skip
            applying.connection.executemany(
                f"UPDATE {table} SET seen = ? WHERE {key} = ? AND id = ?",
                [(applying.snapshot, name, each) for each in ids],
            )


def keep_seen(applying: Applying, target: Target, row_id: str) -> None:
    """Note that a snapshot holds a row which it brought as a head aside, and which stands now."""
    applying.connection.execute(
        "UPDATE _sync_row SET seen = max(seen, (SELECT max(seen) FROM _sync_aside"
        " WHERE table_name = ?1 AND id = ?3)) WHERE table_no = ?2 AND id = ?3",
        (target.name, target.no, row_id),
    )


def look_again(connection: sqlite3.Connection, which: str, n: int) -> None:
    """Have rows take the snapshot's head though they know its order.

    ``which`` of the own undecided writes ``p`` are decided, nobody here knows how: where one was
    parked, the row shows it, and the head is the one that it was made on.
    """
    connection.execute(
        "UPDATE _sync_row SET seen = -1 WHERE (table_no, id) IN"
        f" (SELECT p.table_no, p.id FROM _sync_pending AS p WHERE {which})",
        (n,),
    )


def is_undecided(applying: Applying, target: Target, row_id: str) -> bool:
    """Return whether the site wrote on a row what the centre has not decided."""
    found: sqlite3.Cursor = applying.connection.execute(
        "SELECT 1 FROM _sync_pending WHERE table_no = ? AND id = ? AND n > ? LIMIT 1",
        (target.no, row_id, applying.decided_n),
    )
    return found.fetchone() is not None
