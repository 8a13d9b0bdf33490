"""How rows of one table are written: which of the received columns it has, and the SQL for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from edge.capture import JOURNAL
from edge.sql_text import quoted
from edge.store.open import lenient
from shared.catalog import COMMON

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from shared.catalog import Table
    from shared.changes import Value

#: What every row has, in the order in which a block's keys are zipped.
KEYS: Final = ("id", "site_id", "created_at")
assert tuple(column.name for column in COMMON) == KEYS


@dataclass(frozen=True, slots=True)
class Received:
    """The columns of a block: where each stands in it, and its name in our table."""

    known: tuple[tuple[int, str], ...]
    #: Under the sender's names.
    unknown: tuple[tuple[int, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return our names of the columns that we know."""
        return tuple(name for _, name in self.known)


@dataclass
class Target:
    """A table of the store that rows are written to."""

    table: Table
    no: int
    #: What programs do to its rows is noted in a log.
    has_log: bool
    #: The plant has triggers on it.
    stirred: bool = False
    #: Which loss of its triggers it is marked for: something may have been written to it that was
    #: not captured. 0 for none.
    loss: int = 0
    #: Its created_at has the plant's own form, in which it stays.
    keeps_dates: bool = False
    _aliases: dict[str, str] = field(init=False)
    _stored: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        """Index the earlier names of columns."""
        self._aliases = {
            old: column.name for column in self.table.columns for old in column.renamed_from
        }

    @property
    def name(self) -> str:
        """Return the table's name."""
        return self.table.name

    @property
    def one_by_one(self) -> bool:
        """Return whether something is to be seen to with each row that is taken away."""
        return self.stirred or self.loss > 0

    @property
    def has_journal(self) -> bool:
        """Return whether its rows number themselves as they are committed: what is drained."""
        return self.table.fact and not self.has_log

    def column_here(self, name: str) -> str | None:
        """Return our name of a column, which the sender may know under an earlier one."""
        return name if name in self.table.names else self._aliases.get(name)

    def spelled(self, column: str) -> str:
        """Return a column as the catalogue writes it, where it is one of the catalogue's.

        SQLite takes upper and lower case for the same, and a plant's table may have either.
        """
        lower = column.lower() if column.isascii() else column
        return lower if lower in KEYS or lower in self.table.names else column

    def received(self, columns: Sequence[str]) -> Received:
        """Sort the columns of a block into those that the table has and the others."""
        known: dict[str, int] = {}
        unknown: list[tuple[int, str]] = []
        later = self._later_names(columns)
        # Exact names first: should a sender know both names, the later one is meant.
        for place, name in sorted(enumerate(columns), key=lambda c: c[1] not in self.table.names):
            here = self.column_here(name) or later.get(name)
            if here is None or here in known:
                unknown.append((place, name))
            else:
                known[here] = place
        in_place = sorted((place, name) for name, place in known.items())
        return Received(tuple(in_place), tuple(sorted(unknown)))

    def _later_names(self, columns: Sequence[str]) -> dict[str, str]:
        """Return our names of columns that a newer sender has renamed.

        Heads hold all columns in the catalogue's order, in which a renamed one keeps its place.
        """
        if len(columns) < len(self.table.names):
            return {}
        return {
            there: here
            for there, here in zip(columns, self.table.names, strict=False)
            if there not in self.table.names and here not in columns
        }

    # --- SQL ------------------------------------------------------------------------------

    @cached_property
    def quoted(self) -> str:
        """Return the table's name in quotes."""
        return quoted(self.name)

    def upsert(self, columns: Sequence[str]) -> str:
        """Return the statement that puts a whole row: its keys, then ``columns``."""
        if self.table.fact:
            # What stands is ours, or came before; a fact never changes.
            return f"{self.insert((*KEYS, *columns))} ON CONFLICT (id) DO NOTHING"
        # A row that was made anew under its id, as in one step of the centre, has another date.
        named = columns if self.keeps_dates else ("created_at", *columns)
        changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in named)
        then = f"UPDATE SET {changes}" if named else "NOTHING"
        return f"{self.insert((*KEYS, *columns))} ON CONFLICT (id) DO {then}"

    def insert(self, columns: Sequence[str]) -> str:
        """Return the statement that inserts a row of these columns."""
        listed = ", ".join(map(quoted, columns))
        marks = ", ".join("?" * len(columns))
        return f"INSERT INTO {self.quoted} ({listed}) VALUES ({marks})"

    def update(self, columns: Sequence[str]) -> str:
        """Return the statement that sets these columns of the row whose id comes last."""
        changes = ", ".join(f"{quoted(name)} = ?" for name in columns)
        return f"UPDATE {self.quoted} SET {changes} WHERE id = ?"

    @cached_property
    def delete(self) -> str:
        """Return the statement that deletes the row of an id."""
        return f"DELETE FROM {self.quoted} WHERE id = ?"

    @cached_property
    def mark_facts(self) -> str:
        """Return the statement that takes all rows as drained; nothing undrained may be there."""
        return (
            "UPDATE _sync_table SET"
            f" journal_mark = coalesce((SELECT max({quoted(JOURNAL)}) FROM {self.quoted}), 0),"
            f" journal_id = (SELECT id FROM {self.quoted} ORDER BY {quoted(JOURNAL)} DESC LIMIT 1)"
            " WHERE no = ?"
        )

    def stored_columns(self, connection: sqlite3.Connection) -> tuple[str, ...]:
        """Return every column that can be written, those that only this store has included."""
        if not self._stored:
            query = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0"
            names = [name for (name,) in connection.execute(query, (self.name,))]
            self._stored = tuple(self.spelled(name) for name in names if name != JOURNAL)
        return self._stored

    def read(self, connection: sqlite3.Connection, row_id: str) -> dict[str, Value] | None:
        """Return a row as it stands, with every column that can be written; None where none is."""
        columns = self.stored_columns(connection)
        listed = ", ".join(map(quoted, columns))
        # A program may have put bytes into a text that are none; they are kept as they are.
        with lenient(connection):
            row = connection.execute(
                f"SELECT {listed} FROM {self.quoted} WHERE id = ?", (row_id,)
            ).fetchone()
        return dict(zip(columns, row, strict=True)) if row else None
