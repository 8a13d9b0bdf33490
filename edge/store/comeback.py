"""Rows that had made way come back, as soon as the key that they want is free.

A row aside knows which key of its table is taken, so it takes one look at that key to know whether
it may come back; and none at all where nothing has changed in its table.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from edge.sql_text import literal, of_row
from edge.store import aside, knock_on, removals, rollbacks
from edge.store.puts import Put, is_undecided, keep_seen, key_of, note_version, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.store.applying import Applying
    from edge.store.target import Target
    from shared.changes import Value

#: Rows that come back to one table at a time.
ROWS_MAX: Final = 500
#: Rows that are tried at a time though nobody can tell whether their key is free: a unique index
#: on an expression names no columns.
BLIND_ROWS_MAX: Final = 20

_ASIDE: Final = "SELECT id, content, version, ord FROM _sync_aside a WHERE table_name = ?"


def bring_back(applying: Applying, *, everywhere: bool = False) -> None:
    """Put the rows back whose key is free again; the others stay where they are.

    Keys become free in tables of which something was applied, and wherever programs have written
    since the last look; ``everywhere`` looks at all tables. Costs nothing where no row is aside.
    """
    waiting = applying.connection.execute(
        "SELECT DISTINCT table_name, key FROM _sync_aside WHERE code = ?", (aside.UNIQUE,)
    ).fetchall()
    if not waiting:
        return
    changed = applying.touched
    (last,) = applying.connection.execute("SELECT last_hash FROM _sync_site").fetchone()
    everywhere = everywhere or last != applying.opened.seen.brought_back
    whole = True
    for name, key in waiting:
        target = applying.target(name) if everywhere or name in changed else None
        if target is None:
            continue
        if rollbacks.is_hindered(applying, name):
            whole = False
            continue
        with rollbacks.apart(applying, name):
            whole &= _bring_back_for(applying, target, key) < ROWS_MAX
    applying.opened.seen.brought_back = last if whole else None  # the next look goes on


def bring_back_refused(applying: Applying) -> None:
    """Try every head and removal again that was refused: the rule that it broke may be lifted."""
    names = applying.connection.execute(
        "SELECT DISTINCT table_name FROM _sync_aside WHERE code = ?", (aside.REFUSED,)
    ).fetchall()
    for (name,) in names:
        target = applying.target(name)
        if target is not None and not rollbacks.is_hindered(applying, name):
            with rollbacks.apart(applying, name):
                _try_all_again(applying, target)


def _try_all_again(applying: Applying, target: Target) -> None:
    page = f"{_ASIDE} AND code = '{aside.REFUSED}' AND id > ? ORDER BY id LIMIT {ROWS_MAX}"
    after = ""
    while rows := applying.connection.execute(page, (target.name, after)).fetchall():
        for row_id, content, version, order in rows:
            _try_again(applying, target, row_id, content, (version, order))
        after = rows[-1][0]


def _try_again(
    applying: Applying, target: Target, row_id: str, content: str,
    version: tuple[str | None, int | None],
) -> None:  # fmt: skip
    if content == aside.NO_ROW:
        removals.try_again(applying, target, row_id, (version[0] or "", version[1] or 0))
    elif not is_undecided(applying, target, row_id):  # the centre's word on that is still to come
        _bring_back(applying, target, row_id, aside.from_json(content), version)


def _bring_back_for(applying: Applying, target: Target, key: str | None) -> int:
    """Bring back the rows of a table whose key of these columns is free; return how many it was."""
    query = f"{_ASIDE} AND code = '{aside.UNIQUE}' AND key IS ?"
    columns = json.loads(key) if key else []
    if columns:
        same = " AND ".join(
            f"{of_row(name)} = json_extract(a.content, {literal(aside.path_of(name))})"
            for name in columns
        )
        taken = f"SELECT 1 FROM {target.quoted} d WHERE {same} AND d.id <> a.id"
        query += f" AND NOT EXISTS ({taken}) ORDER BY at_ms LIMIT {ROWS_MAX}"
    else:
        query += f" ORDER BY random() LIMIT {BLIND_ROWS_MAX if key else ROWS_MAX}"
    rows = applying.connection.execute(query, (target.name, key)).fetchall()
    for row_id, content, *version in rows:
        if version[0] is not None and is_undecided(applying, target, row_id):
            continue  # it comes once the centre has told of what the site wrote since
        refused = _bring_back(applying, target, row_id, aside.from_json(content), tuple(version))
        if refused is not None:
            other = key_of(target, refused)  # where it is the same, its values can't be looked up
            now = json.dumps([] if other == columns else other)
            applying.connection.execute(
                "UPDATE _sync_aside SET key = ? WHERE table_name = ? AND id = ? AND code = ?",
                (now, target.name, row_id, aside.UNIQUE),
            )
    return len(rows)


def _bring_back(
    applying: Applying, target: Target, row_id: str, content: Mapping[str, Value],
    version: tuple[str | None, int | None],
) -> str | None:  # fmt: skip
    """Put a row back; return why it can't stand yet, where it can't."""
    known = target.stored_columns(applying.connection)
    row = {name: value for name, value in content.items() if name in known}
    decided, order = version
    if decided is None and knock_on.exists(applying, target, row_id):
        # Somebody made it anew meanwhile.
        aside.drop(applying, target, row_id, aside.UNIQUE, aside.REFUSED)
        return None
    put = Put(row_id, row, decided or None, order or 0)
    try:
        write(applying, target, put)
    except aside.REFUSALS as error:
        return aside.reason_of(applying, target, error)
    if decided is not None:
        note_version(applying, target, put)
        keep_seen(applying, target, row_id)
    aside.drop(applying, target, row_id)
    return None
