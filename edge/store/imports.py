"""What an import asks of the store, and what it leaves in it: all by plain SQL, as any program.

The triggers capture an import like every other write; nothing here goes past them.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.sql_text import quoted
from shared.changes import SHARED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from shared.changes import Value

Key = tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """A row that an import found by its key."""

    id: str
    #: Whether the site may change it: not where it is shared by all sites.
    own: bool
    #: The values of the columns that were asked for.
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the import of one file by one map has come."""

    #: Rows of the file that are done with.
    rows: int = 0
    #: Of these, rows of the file that were refused.
    rejected: int = 0
    done: bool = False


def progress_of(connection: sqlite3.Connection, file_digest: str, map_digest: str) -> Progress:
    """Return how far the import has come; nothing done where it never began."""
    row = connection.execute(
        "SELECT row, rejected, done FROM _sync_import WHERE file_digest = ? AND map_digest = ?",
        (file_digest, map_digest),
    ).fetchone()
    return Progress(row[0], row[1], bool(row[2])) if row else Progress()


def note_progress(
    connection: sqlite3.Connection, file_digest: str, map_digest: str, progress: Progress
) -> None:
    """Remember how far the import has come, in the transaction that brings it there."""
    connection.execute(
        "INSERT INTO _sync_import (file_digest, map_digest, row, rejected, done)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET row = excluded.row, rejected = excluded.rejected, done = excluded.done",
        (file_digest, map_digest, progress.rows, progress.rejected, int(progress.done)),
    )


@contextmanager
def all_or_nothing(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep all that the block writes, or nothing, within the transaction that is open."""
    connection.execute("SAVEPOINT import_rows")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK TO import_rows")
        raise
    finally:
        connection.execute("RELEASE import_rows")


def find_row(
    connection: sqlite3.Connection, table: str, key: Sequence[str], values: Key, *,
    wanted: Sequence[str],
) -> Standing | None:  # fmt: skip
    """Return the row with this natural key, the site's own before one that all sites share."""
    columns = ", ".join(("id", "site_id", *map(quoted, wanted)))
    same = " AND ".join(f"{quoted(name)} = ?" for name in key)
    row = connection.execute(
        f"SELECT {columns} FROM {quoted(table)} WHERE {same} AND site_id IN"
        f" ((SELECT site FROM _sync_site), '{SHARED}') ORDER BY site_id = '{SHARED}' LIMIT 1",
        values,
    ).fetchone()
    return Standing(row[0], row[1] != SHARED, tuple(row[2:])) if row else None


def standing_ids(connection: sqlite3.Connection, table: str, ids: Collection[str]) -> set[str]:
    """Return those of the ids that are taken."""
    rows = connection.execute(
        f"SELECT id FROM {quoted(table)} WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return {row[0] for row in rows}


def insert_rows(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterable[Key]
) -> None:
    """Insert rows whose values stand in the order of the columns."""
    names, marks = ", ".join(map(quoted, columns)), ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {quoted(table)} ({names}) VALUES ({marks})", rows)


def update_row(
    connection: sqlite3.Connection, table: str, row_id: str, changed: dict[str, Value]
) -> None:
    """Set the columns of one row."""
    sets = ", ".join(f"{quoted(name)} = ?" for name in changed)
    connection.execute(
        f"UPDATE {quoted(table)} SET {sets} WHERE id = ?", (*changed.values(), row_id)
    )
