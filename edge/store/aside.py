"""Rows that stand in no table now: kept whole, with the reason, until they can come back.

Nothing that was accepted at the edge is dropped. A row that has to make way for one of the
centre's, a write that the centre did not let stand, and a head that this store can't take are here,
each as a JSON object of its columns. So is a write that no message can carry: its row stands, but
whatever comes from the centre may take its place. And so is a removal that was refused here: the
object is empty then, and the row stands in its table as it was.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge.sql_text import quoted
from shared.errors import Poison, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from edge.store.applying import Applying
    from edge.store.target import Target
    from shared.changes import ChangeBlock, Value

UNIQUE: Final = "unique"  #: another row has its key; it comes back when that is free
PARKED: Final = "parked"  #: an insert that the centre has not accepted
GONE: Final = "gone"  #: the centre deleted the row; own writes on it came too late
LEFT: Final = "left"  #: the row left the share; own writes on it are still owed
REFUSED: Final = "refused"  #: a head that SQLite did not take, or a trigger of the plant's
TOO_LARGE: Final = "too_large"  #: an own write that no message can carry; a fact without its values
UNCAPTURED: Final = "uncaptured"  #: it stood before a head (``edge.store.uncaptured``)
#: What is of the site's own making, and no head settles.
_OWN: Final = (TOO_LARGE, UNCAPTURED)

#: The content of a removal: no row is to stand.
NO_ROW: Final = "{}"


class RowIgnored(Poison):
    """A trigger of the plant's had SQLite pass over the row without a word."""


class RolledBack(SchemaMismatch):
    """A trigger of the plant's rolled back all that the transaction had done."""


#: What may be raised for a row that SQLite can't take; ``reason_of`` tells whether it is that.
REFUSALS: Final = (sqlite3.DatabaseError, OverflowError, RowIgnored)
#: The row's own fault, whatever the code.
_OF_THE_ROW: Final = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, RowIgnored)


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
    _keep(applying, (target.name, str(row["id"])), to_json(row), why, version)


def keep_removal(
    applying: Applying, target: Target, row_id: str, why: Why, version: tuple[str, int]
) -> None:
    """List a removal that was refused, with version and order; what stands is in its table."""
    _keep(applying, (target.name, row_id), NO_ROW, why, version)


def _keep(
    applying: Applying, place: tuple[str, str], content: str, why: Why,
    version: tuple[str, int] | None,
) -> None:  # fmt: skip
    key = None if why.key is None else json.dumps(why.key)
    applying.connection.execute(
        "INSERT OR REPLACE INTO _sync_aside"
        " (table_name, id, code, content, version, ord, reason, at_ms, key, seen)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *place, why.code, content, *(version or (None, None)), why.reason, applying.now_ms, key,
            applying.snapshot,
        ),
    )  # fmt: skip
    applying.set_aside.setdefault((place[0], why.code, why.reason), []).append(place[1])


def add(applying: Applying, target: Target, row_id: str, values: Mapping[str, Value]) -> None:
    """Give a head that stands aside the values of columns that this store has come to know."""
    rows = applying.connection.execute(
        "SELECT code, content FROM _sync_aside WHERE table_name = ? AND id = ? AND code IN (?, ?)"
        " AND content <> ?",  # a removal has no columns
        (target.name, row_id, UNIQUE, REFUSED, NO_ROW),
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


def is_refusal(error: Exception) -> bool:
    """Return whether the row is to blame, or the rules that the plant has made for it.

    An OperationalError is most often trouble with the store: another program holds it, the disk is
    full, the file is damaged. SQLite's plain error is one of the statement: a trigger, a CHECK or
    an index of the plant's asks for a function that only its own programs have. And a virtual table
    of the plant's that a trigger keeps, as a full-text index, may find itself out of step.
    """
    if isinstance(error, _OF_THE_ROW):
        return True
    code = getattr(error, "sqlite_errorcode", -1)
    plain = isinstance(error, sqlite3.OperationalError) and code & 0xFF == sqlite3.SQLITE_ERROR
    return plain or code == sqlite3.SQLITE_CORRUPT_VTAB


def reason_of(applying: Applying, target: Target, error: Exception) -> str:
    """Return why SQLite refused a row, in its words; raise what ``words_of`` raises."""
    return words_of(applying.connection, target.name, error)


def words_of(connection: sqlite3.Connection, table: str, error: Exception) -> str:
    """Return why SQLite refused a row of a table, in its words.

    Raises the error again where it is none of the row's. Raises RolledBack where a trigger of the
    plant did not refuse the row but rolled back all that the transaction had done: nothing can be
    applied beside such a trigger (but see ``edge.store.rollbacks``).
    """
    if not is_refusal(error):
        raise error
    if not connection.in_transaction:
        message = (
            f"a trigger on {table} rolls back all that is done with a row ({error});"
            " let it use RAISE(ABORT) and it refuses the one row"
        )
        raise RolledBack(message) from error
    return str(error)


def removal(applying: Applying, target: Target, row_id: str) -> tuple[str, int] | None:
    """Return version and order of a row's removal that was refused; None where none was."""
    found = applying.connection.execute(
        "SELECT version, ord FROM _sync_aside WHERE table_name = ? AND id = ? AND code = ?"
        " AND content = ?",
        (target.name, row_id, REFUSED, NO_ROW),
    ).fetchone()
    return (str(found[0]), int(found[1])) if found else None


def forget_removals(applying: Applying, target: Target, ids: Sequence[str]) -> None:
    """Forget removals that were refused of facts that came again: they were accepted after all."""
    if _any(applying, target):
        applying.connection.execute(
            "DELETE FROM _sync_aside WHERE table_name = ? AND code = ? AND content = ?"
            " AND id IN (SELECT value FROM json_each(?))",
            (target.name, REFUSED, NO_ROW, json.dumps(ids)),
        )


def orders(applying: Applying, target: Target, ids: Sequence[str]) -> dict[str, int]:
    """Return the orders of heads, removals too, that stand aside and wait for their place."""
    if not _any(applying, target):
        return {}
    rows = applying.connection.execute(
        "SELECT id, ord FROM _sync_aside WHERE table_name = ? AND ord > 0"
        " AND id IN (SELECT value FROM json_each(?))",
        (target.name, json.dumps(ids)),
    )
    return dict(rows.fetchall())


def _any(applying: Applying, target: Target) -> bool:
    query = "SELECT 1 FROM _sync_aside WHERE table_name = ? LIMIT 1"
    return applying.connection.execute(query, (target.name,)).fetchone() is not None


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
