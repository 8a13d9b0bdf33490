"""Imports a CSV file into a site's store, exactly once.

How far an import has come is written in the transaction that writes the rows, so a kill at any
point costs a batch at most, and the same command again goes on from there. Bad lines stop nothing:
each goes to the rejects file, with its number and the reasons.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from edge.csv_import.batch import Batch, BatchReader, BlockValues
from edge.csv_import.lines import CsvLines, Record
from edge.csv_import.rejects import Rejects
from edge.csv_import.rows import Key, Origin, Taken, take, would_take
from edge.parked import instant
from edge.store import fullness, imports
from edge.store.imports import Progress
from edge.store.open import writing
from shared.errors import BadImport, StoreBusy, StoreFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

    from edge.csv_import.mapping import ImportMap

BATCH_ROWS: Final = 1_000
#: A batch ends here, too, where few of the lines read are of this part.
READ_ROWS_MAX: Final = 20_000
#: How often a store that another program holds is asked again; each time has its own wait.
BUSY_TRIES: Final = 6
#: Rejected lines that an outcome shows.
SHOWN_MAX: Final = 10

_NUMBER: Final = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts of a file: the lines for which (number - 1) mod parts is part - 1."""

    column: str
    parts: int
    part: int

    def number_of(self, text: str) -> int | None:
        """Return the number in a text; None where there is none, or more than one."""
        found = _NUMBER.findall(text)
        return int(found[0]) if len(found) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be imported, and how."""

    file: Path
    plan: ImportMap
    rejects: Path
    site: str
    part: Part | None = None
    dry_run: bool = False
    batch_rows: int = BATCH_ROWS
    busy_tries: int = BUSY_TRIES


@dataclass(slots=True)
class Outcome:
    """How an import went; also how it is going."""

    file_digest: str = ""
    file_bytes: int = 0
    bytes_read: int = 0
    #: Of all runs: rows of the file that are done with, and those of them that were rejected.
    progress: Progress = field(default_factory=Progress)
    #: Rows that an earlier run was done with.
    rows_before: int = 0
    #: Of this run: lines taken, rejected, and left to other parts.
    taken: int = 0
    rejected: int = 0
    elsewhere: int = 0
    tables: Taken = field(default_factory=Taken)
    #: The first lines rejected in this run: line, reasons.
    first_rejects: list[tuple[int, str]] = field(default_factory=list)
    #: Whether there was nothing left to do.
    done_before: bool = False


def run_import(
    connection: sqlite3.Connection,
    order: Order,
    *,
    now_ms: int,
    watch: Callable[[Outcome], None],
) -> Outcome:
    """Import the file, or what is left of it; ``watch`` is called after each batch.

    Raises BadImport where file and map do not fit together, StoreBusy where the store stays locked,
    and StoreFull where its disk is nearly full. What was taken until then stays, and the next run
    goes on after it.
    """
    with order.file.open("rb") as stream:
        run = _Run(connection, order, stream, now_ms)
        if not run.outcome.done_before:
            run.all_batches(watch)
        return run.outcome


class _Run:
    """One run of an import."""

    def __init__(
        self, connection: sqlite3.Connection, order: Order, stream: BufferedReader, now_ms: int
    ) -> None:
        self._connection = connection
        self._order = order
        self._stream = stream
        self._state = _state_of(stream)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        self._digests = (digest, _order_digest(order))
        self._origin = Origin(order.site, digest, instant(now_ms))
        self._seen: set[Key] = set()
        progress = Progress()
        if not order.dry_run:
            progress = imports.progress_of(connection, *self._digests)
        self.outcome = Outcome(
            digest, self._state[0], progress=progress, rows_before=progress.rows,
            done_before=progress.done,
        )  # fmt: skip

    def all_batches(self, watch: Callable[[Outcome], None]) -> None:
        """Take everything that is left."""
        outcome, order = self.outcome, self._order
        lines = CsvLines(self._stream, order.plan.dialect)
        reader = BatchReader(order.plan, _checked(lines.header, order))
        records = iter(lines)
        for _ in islice(records, outcome.rows_before):
            pass
        with Rejects(order.rejects, outcome.rows_before, imported=order.file) as rejects:
            for batch, rows in self._batches(records, reader, lines.header):
                values = reader.read(batch)
                if order.dry_run:
                    taken = would_take(self._connection, self._origin, batch, values, self._seen)
                    self._count(batch, taken, rows)
                else:
                    self._commit(batch, values, rows, rejects)
                outcome.bytes_read = lines.bytes_read
                watch(outcome)
        if not order.dry_run:
            with writing(self._connection):
                outcome.progress = replace(outcome.progress, done=True)
                imports.note_progress(self._connection, *self._digests, outcome.progress)

    def _batches(
        self, records: Iterator[Record], reader: BatchReader, header: list[str]
    ) -> Iterator[tuple[Batch, int]]:
        """Yield batches of this part, each with how many rows of the file it is done with."""
        part, rows = self._order.part, self.outcome.rows_before
        at = header.index(part.column) if part else 0
        while chunk := list(islice(records, READ_ROWS_MAX if part else self._order.batch_rows)):
            numbered = enumerate(chunk, rows + 1)
            rows += len(chunk)
            mine = [
                (number, own)
                for number, record in numbered
                if (own := _own(record, part, at)) is not None
            ]
            yield from self._cut(mine, rows, reader)

    def _cut(
        self, mine: list[tuple[int, Record]], rows: int, reader: BatchReader
    ) -> Iterator[tuple[Batch, int]]:
        """Cut the rows of a chunk into batches; the last is done with the whole chunk."""
        size = self._order.batch_rows
        for start in range(0, max(1, len(mine)), size):
            piece = mine[start : start + size]
            last = start + size >= len(mine)
            batch = reader.batch([each for _, each in piece], [number for number, _ in piece])
            yield batch, rows if last else piece[-1][0]

    def _commit(self, batch: Batch, values: list[BlockValues], rows: int, rejects: Rejects) -> None:
        """Take the batch and note the progress, both or neither."""
        reasons = dict(batch.reasons)
        for tries_left in reversed(range(self._order.busy_tries)):
            try:
                taken = self._try_commit(batch, values, rows, rejects)
            except StoreBusy:
                batch.reasons = dict(reasons)
                if not tries_left:
                    raise
            else:
                rejects.keep()
                self._count(batch, taken, rows)
                return

    def _try_commit(
        self, batch: Batch, values: list[BlockValues], rows: int, rejects: Rejects
    ) -> Taken:
        with writing(self._connection):
            self._check_alone()
            taken = self._take(batch, values)
            rejects.write(batch)
            rejected = self.outcome.progress.rejected + len(batch.reasons)
            imports.note_progress(self._connection, *self._digests, Progress(rows, rejected))
        return taken

    def _take(self, batch: Batch, values: list[BlockValues]) -> Taken:
        """Take the lines together; where the store refuses a row, one by one."""
        reasons = dict(batch.reasons)
        try:
            with imports.all_or_nothing(self._connection):
                return take(self._connection, self._origin, batch, values)
        except sqlite3.IntegrityError as error:
            _check_room(error)
            batch.reasons = reasons
        taken = Taken()
        for place in batch.good():
            try:
                with imports.all_or_nothing(self._connection):
                    one = take(self._connection, self._origin, batch, _only(values, place))
            except sqlite3.IntegrityError as error:
                _check_room(error)
                batch.refuse(place, str(error))
            else:
                taken.add(one)
        return taken

    def _check_alone(self) -> None:
        if _state_of(self._stream) != self._state:
            raise BadImport(
                f"{self._order.file} changed while it was read; what was taken stays."
                " Import a copy that nobody writes"
            )
        if imports.progress_of(self._connection, *self._digests) != self.outcome.progress:
            raise BadImport("another import of the same file by the same map is under way")

    def _count(self, batch: Batch, taken: Taken, rows: int) -> None:
        outcome, rejected = self.outcome, len(batch.reasons)
        outcome.taken += len(batch.records) - rejected
        outcome.rejected += rejected
        outcome.elsewhere += rows - outcome.progress.rows - len(batch.records)
        outcome.progress = Progress(rows, outcome.progress.rejected + rejected)
        outcome.tables.add(taken)
        for place, reason in sorted(batch.reasons.items()):
            if len(outcome.first_rejects) < SHOWN_MAX:
                outcome.first_rejects.append((batch.records[place].line, reason))


def _check_room(error: sqlite3.IntegrityError) -> None:
    """Raise StoreFull where the disk is what the store refused for: the line is as good as any."""
    if fullness.is_refusal(error):
        raise StoreFull(f"{error}; the same command goes on after what was taken") from error


def _own(record: Record, part: Part | None, at: int) -> Record | None:
    """Return the record where it is of this part; what is of no part is refused in the first."""
    if part is None:
        return record
    number = None if record.reason else part.number_of(record.fields[at])
    if number is not None:
        return record if (number - 1) % part.parts == part.part - 1 else None
    if part.part != 1:
        return None
    no_number = f"{part.column}: exactly one number is expected, to tell the part by"
    return record._replace(reason=record.reason or no_number)


def _only(values: list[BlockValues], place: int) -> list[BlockValues]:
    return [replace(each, places=[p for p in each.places if p == place]) for each in values]


def _checked(header: list[str], order: Order) -> list[str]:
    """Return the header, once it has every column that is needed, and each but once."""
    needed = dict(order.plan.csv_columns())
    if order.part:
        needed.setdefault(order.part.column, "--split-by")
    missing = [f"{name!r} ({where})" for name, where in needed.items() if name not in header]
    if missing:
        has = ", ".join(map(repr, header))
        raise BadImport(f"{order.file} has no column {', '.join(missing)}; it has {has}")
    double = [name for name in needed if header.count(name) > 1]
    if double:
        raise BadImport(f"{order.file} has more than one column {', '.join(map(repr, double))}")
    return header


def _state_of(stream: BufferedReader) -> tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns


def _order_digest(order: Order) -> str:
    """Return what tells this import of a file from another: the map, and the part of the file."""
    part = (order.part.column, order.part.parts, order.part.part) if order.part else ()
    return hashlib.sha256(repr((order.plan.digest, part)).encode()).hexdigest()
