"""A site's store as any program sees it: a SQLite file that is written with plain SQL."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

Row = tuple[Any, ...]

#: How long a program waits for another that holds the store, in seconds.
BUSY_S = 30.0
#: Among how many rows ``any`` chooses.
CHOICE_ROWS_MAX = 30


class PlainStore:
    """An open store; ``rows`` counts what was written."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        """Open an existing file; ``chance`` decides what ``any`` returns."""
        self._connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=BUSY_S
        )
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._chance = chance
        self.rows = 0

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, all or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def insert(self, table: str, **values: object) -> str:
        """Insert a row and return the id that the store gave it, or that was given."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        text = f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id"
        ((key,),) = self._connection.execute(text, tuple(values.values())).fetchall()
        self.rows += 1
        return str(key)

    def do(self, statement: str, *given: object) -> int:
        """Run an UPDATE or DELETE and return the number of rows."""
        changed = self._connection.execute(statement, given).rowcount
        self.rows += changed
        return changed

    def one(self, query: str, *given: object) -> Row | None:
        """Return the first row, or None."""
        row: Row | None = self._connection.execute(query, given).fetchone()
        return row

    def all(self, query: str, *given: object) -> list[Row]:
        """Return all rows."""
        return self._connection.execute(query, given).fetchall()

    def any(self, query: str, *given: object) -> Row | None:
        """Return one of the first rows by chance; give an order, so that a seed repeats it."""
        rows = self.all(f"{query} LIMIT {CHOICE_ROWS_MAX}", *given)
        return self._chance.choice(rows) if rows else None
