"""Reads facts ahead of a drain, without holding up any program that writes.

A drain has to hold the store while it moves rows into the outbox. Most of its time goes into
reading and packing facts, which never change: so that is done before, up to a bound between two
transactions of the programs, and under the lock only the outbox and the mark are left to write.
What is committed meanwhile waits for the next drain, or, where logs wait as well, is taken under
the lock with them.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge import capture
from edge.sql_text import of_row, quoted
from edge.store import position
from edge.store.canon import corrections, put
from edge.store.ids import as_text
from edge.store.open import Bound
from edge.store.packing import Packer
from shared import clock
from shared.catalog import CREATED_AT
from shared.changes import ChangeBlock, Op, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge.store.canon import Correction
    from edge.store.open import Opened
    from shared.catalog import Column, Table

#: Facts that are read and packed at a time.
PAGE_ROWS: Final = 5_000
#: Fewer are read under the lock, which is then held for a few milliseconds.
ROWS_MIN: Final = 200
#: Fewer are not worth a part of their own.
READ_ON_ROWS_MIN: Final = 2_000
#: Beyond it, nothing more is read ahead while the lock is waited for.
ROWS_MAX: Final = 20_000
_KEYS: Final = ("site_id", "created_at", "id")
_NUMBER_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Page:
    """Facts of one table in the order of their journal."""

    table: Table
    #: The journal's number of each.
    numbers: list[int]
    sites: list[Any]
    created: list[Any]
    ids: list[Any]
    #: One list a business column.
    new: list[list[Value]]

    def bring_to_form(self) -> list[Correction]:
        """Replace values by their canonical form; return what the rows then have to say."""
        lists = self.columns()
        found = corrections(lists, self.numbers)
        for each in found:
            each.bring(lists)
        return found

    def columns(self) -> dict[Column, list[Value]]:
        """Return the values whose form is looked at."""
        return dict(zip((CREATED_AT, *self.table.columns), (self.created, *self.new), strict=True))

    @property
    def mark(self) -> Mark:
        """Return where the journal stands when the page is drained."""
        return Mark(self.numbers[-1], self.ids[-1])

    def block(self) -> ChangeBlock:
        """Return the facts as they travel."""
        return facts_block(self.table, (self.sites, self.created, self.ids), self.new)


def pages(
    connection: sqlite3.Connection, table: Table, mark: int, last: int = _NUMBER_MAX
) -> Iterator[Page]:
    """Yield the facts above a mark, up to the last that is wanted."""
    columns = ", ".join(map(of_row, (capture.JOURNAL, *_KEYS, *table.names)))
    page_after = (
        f"SELECT {columns} FROM {quoted(table.name)} d"
        f" WHERE {capture.JOURNAL} > ? AND {capture.JOURNAL} <= ?"
        f" ORDER BY {capture.JOURNAL} LIMIT {PAGE_ROWS}"
    )
    while rows := connection.execute(page_after, (mark, last)).fetchall():
        numbers, sites, created, ids, *new = map(list, zip(*rows, strict=True))
        mark = numbers[-1]
        yield Page(table, numbers, sites, created, ids, new)


def facts_block(
    table: Table, keys: tuple[Iterable[Any], ...], new: list[list[Value]]
) -> ChangeBlock:
    """Return the block of facts, given site_id, created_at, id and the business columns."""
    sites, created, ids = map(texts, keys)
    return ChangeBlock(table.name, Op.INSERT, table.names, sites, created, ids, new=new)


def texts(values: Iterable[Any]) -> list[str]:
    """Return keys as texts."""
    listed = values if isinstance(values, list) else list(values)
    if set(map(type, listed)) <= {str}:
        return listed
    return [value if isinstance(value, str) else as_text(value) for value in listed]


class Mark(NamedTuple):
    """Up to where a table's facts are drained."""

    #: The journal's number of the last one.
    number: int
    #: Its id, which tells whether it still stands there; None where there is none.
    id: str | bytes | None


def mark_of(connection: sqlite3.Connection, table: Table) -> Mark | None:
    """Return up to where a table's facts are drained.

    None where the fact that stood there does not any more: somebody deleted the newest ones past
    the guard, and their numbers come again. It may stand further on: it took its own place.
    """
    number, stands, row_id = connection.execute(
        "SELECT journal_mark, coalesce(d.id = journal_id, journal_id IS NULL AND"
        f" (d.id IS NOT NULL OR journal_mark = 0)) OR EXISTS (SELECT 1 FROM {quoted(table.name)} m"
        f" WHERE m.id = journal_id AND m.{capture.JOURNAL} > journal_mark),"
        f" CAST(coalesce(d.id, journal_id) AS BLOB) FROM _sync_table"
        f" LEFT JOIN {quoted(table.name)} d ON d.{capture.JOURNAL} = journal_mark WHERE name = ?",
        (table.name,),
    ).fetchone()
    return Mark(number, row_id) if stands else None


def move_mark(connection: sqlite3.Connection, table: Table, mark: Mark) -> None:
    """Note that a table's facts are drained up to there."""
    connection.execute(
        "UPDATE _sync_table SET journal_mark = ?, journal_id = CAST(? AS TEXT) WHERE name = ?",
        (*mark, table.name),
    )


class Early:
    """Facts that are packed, to be put into the outbox if the store stands where it stood then.

    Between two bounds they become a sync transaction of their own. While pages are read, more and
    more bounds are noted, so that what a program in a hurry has written meanwhile is cut where its
    transactions end, and goes out piece by piece.
    """

    def __init__(self, opened: Opened, now_ms: int, packers: ExitStack) -> None:
        self.at = position.read(opened.connection)
        #: What was read, each a transaction. The last is not finished where it is ``mixed``.
        self.packers: list[Packer] = []
        self.mixed = False
        self._opened = opened
        self._connection = opened.connection
        self._now_ms = now_ms
        self._stack = packers
        self._marks: dict[str, Mark] = {}
        self._corrections: list[tuple[Table, Correction]] = []
        #: The last bound that was begun to read to.
        self._bound = Bound({}, mixed=False)
        self._ended = False

    def read(self) -> bool:
        """Read what waits, if it is worth it; return whether it was."""
        return self._read(ROWS_MIN)

    def read_on(self) -> bool:
        """Read what was committed since, if that is worth a part of its own."""
        return self._read(READ_ON_ROWS_MIN)

    def _read(self, rows_min: int) -> bool:
        self._note_bound(rows_min)
        read = False
        while self._opened.bounds and not self._ended and not self.mixed:
            if sum(packer.rows for packer in self.packers) >= ROWS_MAX:
                break
            read = self._read_to(self._opened.bounds.popleft()) or read
        return read

    def settle(self) -> bool:
        """Put right what was out of form, and note what is packed as drained.

        Inside the write transaction. False where a form can't stand in its row: what was packed
        would not be what stands here, and must not be sent.
        """
        for table, correction in self._corrections:
            if not put(self._connection, table, correction, capture.JOURNAL):
                return False
        for name, mark in self._marks.items():
            move_mark(self._connection, self._opened.catalog.table(name), mark)
        return True

    def _note_bound(self, rows_min: int) -> None:
        """Note where the programs are, if that is so far from where they were."""
        bounds = self._opened.bounds
        if bounds and bounds[-1].mixed:
            return
        bound = self._now()
        before = bounds[-1].marks if bounds else {**self._drained(bound), **self._bound.marks}
        if bound.rows_after(before) >= rows_min:
            bounds.append(bound)

    def _now(self) -> Bound:
        """Return the bound at this moment, of the tables in which anything waits."""
        connection = self._connection
        connection.execute("BEGIN")
        try:
            names = {name for (name,) in connection.execute(self._opened.look)}
            tables = [t for t in self._opened.catalog.parents_first() if t.name in names]
            journals = [t for t in tables if not capture.has_log(t, self._opened.forms[t.name])]
            marks = {t.name: last_of(connection, t) for t in journals}
        finally:
            connection.execute("COMMIT")
        return Bound(marks, mixed=len(journals) < len(tables), at_ms=self._now_ms)

    def _drained(self, bound: Bound) -> Mapping[str, int]:
        """Return up to where a bound's tables are read already, here or by an earlier drain."""
        drained = {name: mark.number for name, mark in self._marks.items()}
        for name in bound.marks.keys() - self._marks:
            mark = mark_of(self._connection, self._opened.catalog.table(name))
            self._ended |= mark is None  # the journal began anew: it is read under the lock
            drained[name] = mark.number if mark else 0
        return drained

    def _read_to(self, bound: Bound) -> bool:
        """Read and pack the facts up to a bound; return whether there are any."""
        self._bound = bound
        # As of the bound: what was committed since is not in it, and must not count as drained.
        hlc = clock.tick(self.packers[-1].hlc if self.packers else self.at.hlc, bound.at_ms)
        packer = Packer(self._opened.catalog.version, hlc, self.at.offset_ms)
        self._stack.enter_context(packer)
        drained = self._drained(bound)
        marks: dict[str, Mark] = {}
        found: list[tuple[Table, Correction]] = []
        try:
            for name, last in bound.marks.items():
                table = self._opened.catalog.table(name)
                for page in pages(self._connection, table, drained[name], last):
                    found += ((table, each) for each in page.bring_to_form())
                    packer.add(page.block())
                    marks[name] = page.mark
                    self._note_bound(READ_ON_ROWS_MIN)
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            self._ended = True  # a text that is no UTF-8: read under the lock, as bytes
        packer.flush()
        self._ended |= bool(packer.too_large)  # the operator is told of those, under the lock
        if self._ended or not packer.rows:
            return False
        self.packers.append(packer)
        self.mixed = bound.mixed
        self._marks |= marks
        self._corrections += found
        return True


def last_of(connection: sqlite3.Connection, table: Table) -> int:
    """Return the journal's number of the newest fact; 0 where there is none."""
    (last,) = connection.execute(
        f"SELECT max({capture.JOURNAL}) FROM {quoted(table.name)}"
    ).fetchone()
    return int(last or 0)


@contextmanager
def reading_ahead(opened: Opened, now_ms: int) -> Iterator[Early | None]:
    """Read what waits and yield it; None where it is little, or can't be read without the lock."""
    with ExitStack() as packers:
        early = Early(opened, now_ms, packers)
        yield early if early.read() else None
