"""One PostgreSQL transaction under way that applies what a site sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from psycopg import AsyncConnection

    from central.store.parents import KnownIds
    from shared.catalog import Catalog, Table

#: What PostgreSQL raises of rows that it does not take; anything else is no fault of theirs.
ROWS_AT_FAULT = (psycopg.IntegrityError, psycopg.DataError)


@dataclass(slots=True)
class Tally:
    """What has been done so far."""

    rows: int = 0
    parked: int = 0
    #: By policy.
    conflicts: Counter[str] = field(default_factory=Counter)
    #: New rows of tables that others refer to, by table.
    brought: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Rows that were found to be there, by table.
    learned: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Tables and hours of created_at that were touched, such as ``2026-11-26T05``.
    marks: set[tuple[str, str]] = field(default_factory=set)
    #: All that the site committed until then, by the centre's clock, is applied with this.
    through_ms: int = 0
    #: Something waits for the sequencer.
    touched: bool = False
    #: What was done before the savepoint that this one counts from.
    before: Tally | None = None

    def add(self, later: Tally) -> None:
        """Add what was done since."""
        self.rows += later.rows
        self.parked += later.parked
        self.conflicts += later.conflicts
        self.marks |= later.marks
        self.through_ms = max(self.through_ms, later.through_ms)
        self.touched |= later.touched
        for table, ids in later.brought.items():
            self.brought[table] |= ids
        for table, ids in later.learned.items():
            self.learned[table] |= ids


@dataclass(slots=True)
class Applying:
    """What every step of an apply needs to know, and what it has done."""

    connection: AsyncConnection[Any]
    catalog: Catalog
    table_nos: Mapping[str, int]
    parents: frozenset[str]
    site: str
    known: KnownIds
    #: When the transaction began, in canonical form: for the record, never for a verdict.
    now: str = ""
    #: Whether any row of the site waits for a parent, or is parked.
    waiting: bool = True
    tally: Tally = field(default_factory=Tally)

    def no(self, table: Table) -> int:
        """Return the number that stands for a table in the bookkeeping."""
        return self.table_nos[table.name]

    def brought(self, table: Table, ids: Iterable[str]) -> None:
        """Note new rows, where others may wait for them."""
        if table.name in self.parents:
            self.tally.brought[table.name].update(ids)

    def not_brought(self, table: str, ids: set[str]) -> set[str]:
        """Return those of the ids that are neither known nor new in this transaction."""
        missing = self.known.missing(self.site, table, ids)
        tally: Tally | None = self.tally
        while tally is not None and missing:
            missing.difference_update(tally.brought.get(table, ()), tally.learned.get(table, ()))
            tally = tally.before
        return missing

    def mark(self, table: Table, created: Iterable[str]) -> None:
        """Note the hours whose reports are to be made again."""
        self.tally.marks.update((table.name, hour) for hour in {c[:13] for c in created})

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo what is done inside, in the database and in the tally, when it raises."""
        before, self.tally = self.tally, Tally(before=self.tally)
        try:
            async with self.connection.transaction():
                yield
            before.add(self.tally)
        finally:
            self.tally = before
