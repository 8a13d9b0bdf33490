"""Rows that stand in no table now: kept whole, with the reason, until they can come back.

Nothing that was accepted at the edge is dropped. A row that has to make way for one of the
centre's, a write that the centre did not let stand, and a head that this store can't take are here,
each as a JSON object of its columns. So is a write that no message can carry: its row stands, but
whatever comes from the centre may take its place.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge.sql_text import quoted
from shared.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from edge.store.applying import Applying
    from edge.store.target import Target
    from shared.changes import ChangeBlock, Value

UNIQUE: Final = "unique"  #: another row has its key; it comes back when that is free
PARKED: Final = "parked"  #: an insert that the centre has not accepted
GONE: Final = "gone"  #: the centre deleted the row; own writes on it came too late
LEFT: Final = "left"  #: the row left the share; own writes on it are still owed
REFUSED: Final = "refused"  #: a head that SQLite did not take
TOO_LARGE: Final = "too_large"  #: an own write that no message can carry; a fact without its values
UNCAPTURED: Final = (
    "uncaptured"  #: a row as it stood before a head, and may have been written past us
)
#: What is of the site's own making, and no head settles.
_OWN: Final = (TOO_LARGE, UNCAPTURED)

#: What SQLite raises for a row that it can't take. All else is trouble with the store itself.
REFUSALS: Final = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError)


@dataclass(frozen=True, slots=True)
class Why:
    """Why a row is set aside."""

    code: str
    #: In words.
    reason: str
    #: UNIQUE: the columns of the key that another row has, as far as they are known.
    key: Sequence[str] | None = None


def keep(
    applying: Applying, target: Target, row: Mapping[str, Value], why: Why,
    version: tuple[str, int] | None = None,
) -> None:  # fmt: skip
    """Set a row aside, whole; ``version`` and order are those of a head that can't be put."""
    row_id, at_ms = str(row["id"]), applying.now_ms
    key = None if why.key is None else json.dumps(why.key)
    applying.connection.execute(
        "INSERT OR REPLACE INTO _sync_aside"
        " (table_name, id, code, content, version, ord, reason, at_ms, key)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            target.name,
            row_id,
            why.code,
            to_json(row),
            *(version or (None, None)),
            why.reason,
            at_ms,
            key,
        ),
    )
    applying.set_aside.setdefault((target.name, why.code, why.reason), []).append(row_id)


def add(applying: Applying, target: Target, row_id: str, values: Mapping[str, Value]) -> None:
    """Give a head that stands aside the values of columns that this store has come to know."""
    rows = applying.connection.execute(
        "SELECT code, content FROM _sync_aside WHERE table_name = ? AND id = ? AND code IN (?, ?)",
        (target.name, row_id, UNIQUE, REFUSED),
    ).fetchall()
    for code, content in rows:
        row = {**from_json(content), **values}
        applying.connection.execute(
            "UPDATE _sync_aside SET content = ? WHERE table_name = ? AND id = ? AND code = ?",
            (to_json(row), target.name, row_id, code),
        )


def drop(applying: Applying, target: Target, row_id: str, *codes: str) -> None:
    """Forget what was set aside of a row: what is there under these codes, or all that came down.

    A write that was never sent is settled by the site itself.
    """
    only = f"code {'IN' if codes else 'NOT IN'} ({', '.join('?' * len(codes or _OWN))})"
    found = applying.connection.execute(
        f"DELETE FROM _sync_aside WHERE table_name = ? AND id = ? AND {only}"
        " RETURNING code, reason",
        (target.name, row_id, *(codes or _OWN)),
    ).fetchall()
    for code, reason in found:  # it made way for a moment only: nothing to tell an operator
        ids = applying.set_aside.get((target.name, code, reason), [])
        if row_id in ids:
            ids.remove(row_id)
            if not ids:
                del applying.set_aside[target.name, code, reason]


# --- what may have been written while our triggers were away -------------------------------------


def keep_uncaptured(applying: Applying, target: Target, row: Mapping[str, Value]) -> None:
    """Keep a row of a marked table as it stands, whose place a head takes; the first such stays."""
    kept = applying.connection.execute(
        "SELECT 1 FROM _sync_aside WHERE table_name = ? AND id = ? AND code = ?",
        (target.name, row["id"], UNCAPTURED),
    ).fetchone()
    if kept is None:
        reason = "our triggers had been away: what stood here may hold what was never sent"
        keep(applying, target, row, Why(UNCAPTURED, reason))


# --- what was never sent ------------------------------------------------------------------------


def keep_unsent(connection: sqlite3.Connection, block: ChangeBlock, now_ms: int) -> None:
    """Keep a row's write that no message can carry; of a fact only that it was not sent."""
    (row_id,), values = block.ids, {} if not block.at else _only_row(block)
    before = connection.execute(
        "SELECT content FROM _sync_aside WHERE table_name = ? AND id = ? AND code = ?",
        (block.table, row_id, TOO_LARGE),
    ).fetchone()
    if before is not None:  # what was too large before is owed as well
        values = {**from_json(before[0]), **values}
    connection.execute(
        "INSERT OR REPLACE INTO _sync_aside (table_name, id, code, content, reason, at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (block.table, row_id, TOO_LARGE, to_json(values), "no message can carry it", now_ms),
    )


def _only_row(block: ChangeBlock) -> dict[str, Value]:
    return {name: column[0] for name, column in zip(block.columns, block.new, strict=True)}


def unsent(connection: sqlite3.Connection) -> dict[tuple[str, str], set[str]]:
    """Return what was never sent: (table, id) -> columns."""
    rows = connection.execute(
        "SELECT table_name, id, (SELECT json_group_array(key) FROM json_each(content))"
        " FROM _sync_aside WHERE code = ?",
        (TOO_LARGE,),
    )
    return {(table, row_id): set(json.loads(names)) for table, row_id, names in rows}


def settle_unsent(connection: sqlite3.Connection, rows: Iterable[tuple[str, str]]) -> None:
    """Forget what is sent by now, or that the site itself has deleted."""
    connection.executemany(
        "DELETE FROM _sync_aside WHERE table_name = ? AND id = ? AND code = ?",
        [(*row, TOO_LARGE) for row in rows],
    )


def settle_columns(
    connection: sqlite3.Connection, row: tuple[str, str], *, left: Collection[str]
) -> None:
    """Keep of a row's writes that were never sent what is left of them."""
    if not left:
        settle_unsent(connection, [row])
        return
    place = (*row, TOO_LARGE)
    (content,) = connection.execute(
        "SELECT content FROM _sync_aside WHERE table_name = ? AND id = ? AND code = ?", place
    ).fetchone()
    kept = {name: value for name, value in from_json(content).items() if name in left}
    connection.execute(
        "UPDATE _sync_aside SET content = ? WHERE table_name = ? AND id = ? AND code = ?",
        (to_json(kept), *place),
    )


def settle_dropped(connection: sqlite3.Connection, facts: str) -> None:
    """Forget the facts that were never sent and that retention has dropped meanwhile."""
    connection.execute(
        "DELETE FROM _sync_aside WHERE table_name = ? AND code = ?"
        f" AND id NOT IN (SELECT id FROM {quoted(facts)} WHERE id = _sync_aside.id)",
        (facts, TOO_LARGE),
    )


# --- reading and writing ------------------------------------------------------------------------


def reason_of(applying: Applying, target: Target, error: Exception) -> str:
    """Return why SQLite refused a row, in its words.

    Raises SchemaMismatch where a trigger of the plant did not refuse the row but rolled back all
    that the transaction had done: nothing can be applied beside such a trigger.
    """
    if not applying.connection.in_transaction:
        message = (
            f"a trigger on {target.name} rolls back what the centre sends ({error});"
            " let it use RAISE(ABORT) and it refuses the one row"
        )
        raise SchemaMismatch(message) from error
    return str(error)


def own_row(applying: Applying, target: Target, row_id: str) -> dict[str, Value] | None:
    """Return the site's own row where it made way, or left with writes still owed."""
    found = applying.connection.execute(
        "SELECT content FROM _sync_aside WHERE table_name = ? AND id = ? AND code IN (?, ?)"
        " ORDER BY at_ms DESC LIMIT 1",
        (target.name, row_id, UNIQUE, LEFT),
    ).fetchone()
    return from_json(found[0]) if found else None


def path_of(column: str) -> str:
    """Return where SQLite's JSON functions find a column of a row that ``to_json`` wrote."""
    return f'$."{column}"'


def to_json(row: Mapping[str, Value]) -> str:
    """Return a row as JSON text; bytes are written ``{"hex": ...}``."""
    plain = {k: {"hex": v.hex()} if isinstance(v, bytes) else v for k, v in row.items()}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> dict[str, Value]:
    """Return the row that ``to_json`` wrote."""
    plain: dict[str, Any] = json.loads(text)
    return {k: bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for k, v in plain.items()}
