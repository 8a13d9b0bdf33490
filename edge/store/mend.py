"""What a comparison leaves in the store: rows that are sent again, keys put right, its report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from edge import capture
from edge.sql_text import NOW_MS, quoted
from edge.store import aside, position
from edge.store.open import silent, writing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from edge.store.open import Opened
    from shared.catalog import Table

#: Comparisons whose reports are kept.
REPORTS_MAX: Final = 10


def resend(opened: Opened, table: Table, ids: Sequence[str]) -> int:
    """Have rows drained and sent once more, as if they had just been inserted; return how many.

    The centre knows facts by their ids; of other rows it must have none. Safe to repeat.
    """
    if not ids:
        return 0
    connection = opened.connection
    if not capture.has_log(table, opened.forms[table.name]):
        return _put_each(opened, table, _renumber(table), {row_id: (row_id,) for row_id in ids})
    with writing(connection):
        if not table.fact:  # what stands is no version of the centre's
            connection.executemany(
                "DELETE FROM _sync_row WHERE table_no = ? AND id = ?",
                [(opened.numbers[table.name], row_id) for row_id in ids],
            )
        return _log_again(connection, table, ids)


def _log_again(connection: sqlite3.Connection, table: Table, ids: Sequence[str]) -> int:
    """Note rows in their table's log, as its trigger notes an insert."""
    return connection.execute(
        f"INSERT INTO {quoted(capture.log_name(table))} (op, id, site_id, created_at, mask, at_ms)"
        f" SELECT 'I', d.id, d.site_id, d.created_at, 0, {NOW_MS} FROM {quoted(table.name)} d"
        " WHERE d.id IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    ).rowcount


def _renumber(table: Table) -> str:
    """Return the statement that puts a fact at the end of its journal, above what is drained."""
    return (
        f"UPDATE {quoted(table.name)} SET {capture.JOURNAL} ="
        f" (SELECT max({capture.JOURNAL}) + 1 FROM {quoted(table.name)}) WHERE id = ?"
    )


def put_keys(opened: Opened, table: Table, keys: Mapping[str, tuple[str, str]]) -> int:
    """Give rows, by id, the site_id and created_at that the centre has; return how many.

    No head brings another site_id, nor one of its own accord. Where an adopted table keeps the
    plant's own form of created_at, nothing is done.
    """
    if not keys or opened.forms[table.name].created_zone is not None:
        return 0
    statement = f"UPDATE {quoted(table.name)} SET site_id = ?, created_at = ? WHERE id = ?"
    return _put_each(
        opened, table, statement, {row_id: (*key, row_id) for row_id, key in keys.items()}
    )


def _put_each(
    opened: Opened, table: Table, statement: str, rows: Mapping[str, Sequence[str]]
) -> int:
    """Run a statement for each row, by id; return how many rows it changed.

    A row that the plant's rules keep as it was is told, and no comparison stops for it. Where a
    trigger rolls back what was done for the others, none of them was changed.
    """
    refused: dict[str, list[str]] = {}
    try:
        with writing(opened.connection), silent(opened.connection):
            changed = _put_all(opened.connection, table, statement, rows, refused)
    except aside.RolledBack as error:
        changed, refused = 0, {str(error): list(rows)}
    if refused:
        _tell(opened.connection, table, refused)
    return changed


def _put_all(
    connection: sqlite3.Connection, table: Table, statement: str,
    rows: Mapping[str, Sequence[str]], refused: dict[str, list[str]],
) -> int:  # fmt: skip
    """Do the same, and put into ``refused`` the rows that stand as they were, by the reason."""
    changed = 0
    there = f"SELECT 1 FROM {quoted(table.name)} WHERE id = ?"
    for row_id, given in rows.items():
        why = "a trigger passes over it"
        try:
            found = connection.execute(statement, given).rowcount
        except aside.REFUSALS as error:
            found, why = 0, aside.words_of(connection, table.name, error)
        changed += found
        if not found and connection.execute(there, (row_id,)).fetchone():
            refused.setdefault(why, []).append(row_id)
    return changed


def _tell(connection: sqlite3.Connection, table: Table, refused: Mapping[str, list[str]]) -> None:
    with writing(connection):
        (now_ms,) = connection.execute(f"SELECT {NOW_MS}").fetchone()
        for why, ids in refused.items():
            message = f"{table.name} {position.named(ids)} can't be repaired: {why}"
            position.note(connection, "MES-REPAIR-REFUSED", message, now_ms)


def keep_report(
    connection: sqlite3.Connection, report: Mapping[str, Any], losses: Mapping[str, int], at_ms: int
) -> None:
    """Keep what a comparison came to; the oldest are forgotten.

    Of a table that is the same at both ends, and of which nothing was left out, all that was ever
    written is known: it needs no mark any more, unless it was lost once more since the comparison
    began (``losses`` as they were then).
    """
    with writing(connection):
        connection.execute(
            "INSERT OR REPLACE INTO _sync_compare (run, at_ms, differing, whole, report)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                report["run"], at_ms, report["differing"], report["whole"],
                json.dumps(report, ensure_ascii=False),
            ),
        )  # fmt: skip
        connection.executemany(
            "UPDATE _sync_table SET uncaptured_ms = NULL WHERE name = ? AND losses = ?",
            [
                (each["table"], losses[each["table"]])
                for each in report["tables"]
                if each["table"] in losses and _is_same(each)
            ],
        )
        # What stood where the centre's row came to repair it is in the conflict history.
        connection.executemany(
            "DELETE FROM _sync_aside WHERE table_name = ? AND id = ? AND code = ? AND at_ms >= ?",
            [
                (each["table"], each["id"], aside.UNCAPTURED, report["began_ms"])
                for each in report["differences"] if each["repair"] == "sent"
            ],
        )  # fmt: skip
        connection.execute(
            "DELETE FROM _sync_compare WHERE run NOT IN"
            " (SELECT run FROM _sync_compare ORDER BY at_ms DESC LIMIT ?)",
            (REPORTS_MAX,),
        )


def _is_same(table: Mapping[str, Any]) -> bool:
    """Return whether every row of a table was looked at, and is the same at both ends by now."""
    left_out = ("skipped", "more", "moving", "aside", "parked", "unknown")
    return not (any(table[each] for each in left_out) or table["differing"] - table["repaired"])
