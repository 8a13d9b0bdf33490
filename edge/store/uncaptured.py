"""What may have been written past our triggers, kept as it stood before anything takes its place.

Where a table's triggers were away nobody can tell which rows hold a write that was never captured
(``edge.store.watch``). So each row of such a table that is written over or taken away is taken for
one, and so is one that is missing though nobody here is known to have deleted it. Once for each
loss: what the first head of a row found may be of the site's making, what a later one finds is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.store import aside
from edge.store.target import KEYS
from sync.policies import same

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.store.applying import Applying
    from edge.store.target import Target
    from shared.changes import Value

_HERE = "our triggers had been away: what stood here may hold what was never sent"
_GONE = "our triggers had been away, and no row stood here: it may have been deleted"


def standing(applying: Applying, target: Target, row_id: str) -> dict[str, Value] | None:
    """Return a row as it stands, where its table is marked; None where it isn't, or none stands."""
    return target.read(applying.connection, row_id) if target.loss else None


def keep(applying: Applying, target: Target, row: Mapping[str, Value] | None) -> None:
    """Keep a row that ``standing`` gave, and that does not stand so any more."""
    if row is not None:
        _keep(applying, target, str(row["id"]), aside.to_json(row), _HERE)


def keep_changed(
    applying: Applying, target: Target, row: Mapping[str, Value] | None,
    put: Mapping[str, Value],
) -> None:  # fmt: skip
    """Keep a row that ``standing`` gave, where what was put over it changed more than its keys."""
    changed = (name for name in put if name not in KEYS)
    if row is not None and any(not same(put[name], row.get(name)) for name in changed):
        keep(applying, target, row)


def keep_missing(applying: Applying, target: Target, row_id: str) -> None:
    """Keep that no row stands here, where by the last head that came one would."""
    if not target.loss:
        return
    stood = applying.connection.execute(
        "SELECT 1 FROM _sync_row AS r WHERE table_no = ? AND id = ? AND gone = 0 AND NOT EXISTS"
        " (SELECT 1 FROM _sync_aside WHERE table_name = ? AND id = r.id)",
        (target.no, row_id, target.name),
    ).fetchone()
    if stood is not None:
        _keep(applying, target, row_id, aside.NO_ROW, _GONE)


def _keep(applying: Applying, target: Target, row_id: str, content: str, reason: str) -> None:
    kept = applying.connection.execute(
        "INSERT OR IGNORE INTO _sync_aside (table_name, id, code, loss, content, reason, at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (target.name, row_id, aside.UNCAPTURED, target.loss, content, reason, applying.now_ms),
    ).rowcount
    if kept:
        key = (target.name, aside.UNCAPTURED, reason)
        applying.set_aside.setdefault(key, []).append(row_id)
