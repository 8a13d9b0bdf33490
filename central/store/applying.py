"""One PostgreSQL transaction under way that applies what a site sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from psycopg import AsyncConnection

    from central.store.parents import KnownIds
    from shared.catalog import Catalog, Table

#: SQLSTATE class 54: what a row holds is too long or too deep, for an index above all. It is so the
#: next time as well, though psycopg counts it among the errors that pass.
TOO_LARGE: Final = (
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.errors.TooManyColumns,
    psycopg.errors.TooManyArguments,
)
#: What PostgreSQL raises of rows that it does not take; anything else is no fault of theirs. What a
#: trigger of the plant's at the centre says without a code of its own is a refusal; ours have one.
ROWS_AT_FAULT: Final = (
    psycopg.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException,
    psycopg.errors.AssertFailure, *TOO_LARGE,
)  # fmt: skip

_PLAN: Final = b"""SELECT set_config('enable_hashjoin', %(joins)s, true),
                        set_config('enable_mergejoin', %(joins)s, true),
                        set_config('enable_material', %(joins)s, true)"""


class Setback(Exception):
    """Something of an attempt can't stay, so all of the attempt is undone."""


class TooBold(Exception):
    """A transaction that was begun without savepoints has to be done again with them."""


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
    #: Clock of the drain of a transaction that comes in parts, and how far it was off.
    hlc: int = 0
    offset_ms: int = 0
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
    #: Whether any value of the site waits for a column that is to come, or is to fit it.
    has_extras: bool = True
    #: Whether a person has let go of any fact of the site.
    has_let_go: bool = True
    #: Nearly all runs have no setback, and savepoints cost two round trips each. So there are none
    #: at first, and after a setback the whole transaction is done again, with them.
    is_bold: bool = False
    is_indexed: bool = False
    tally: Tally = field(default_factory=Tally)
    #: Transactions whose rows came home: what is parked of them, their site has heard of.
    came_home: set[str] = field(default_factory=set)
    #: Parked rows that were tried again since what they waited for came.
    woken: int = 0

    def no(self, table: Table) -> int:
        """Return the number that stands for a table in the bookkeeping."""
        return self.table_nos[table.name]

    def brought(self, table: Table, ids: Iterable[str]) -> None:
        """Note new rows, where others may wait for them."""
        if table.name in self.parents:
            self.tally.brought[table.name].update(ids)

    def forget(self) -> None:
        """Let go of the ids of this transaction: from here on the database is asked for them."""
        self.tally.brought.clear()
        self.tally.learned.clear()

    def not_brought(self, table: str, ids: set[str]) -> set[str]:
        """Return those of the ids that are neither known nor new in this transaction."""
        missing = self.known.missing(self.site, table, ids)
        tally: Tally | None = self.tally
        while tally is not None and missing:
            missing.difference_update(tally.brought.get(table, ()), tally.learned.get(table, ()))
            tally = tally.before
        return missing

    async def plan(self, *, indexed: bool) -> None:
        """Have the statements that follow joined by index look-ups, or by whatever seems best.

        Look-ups are what the updates are for, however large the tables; PostgreSQL may think
        otherwise as long as it knows little of them, and keep all rows of a table at hand instead.
        """
        if self.is_indexed != indexed:
            self.is_indexed = indexed
            await self.connection.execute(_PLAN, {"joins": "off" if indexed else "on"})

    def mark(self, table: Table, created: Iterable[str]) -> None:
        """Note the hours whose reports are to be made again."""
        self.tally.marks.update((table.name, hour) for hour in {c[:13] for c in created})

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo what is done inside, in the database and in the tally, when it raises.

        Where the transaction is bold, raise ``TooBold`` instead.
        """
        if self.is_bold:
            try:
                yield
            except (Setback, *ROWS_AT_FAULT) as why:
                raise TooBold from why
            return
        before, self.tally = self.tally, Tally(before=self.tally)
        is_indexed = self.is_indexed
        try:
            async with self.connection.transaction():
                yield
            before.add(self.tally)
        except BaseException:
            self.is_indexed = is_indexed  # the setting goes back as well
            raise
        finally:
            self.tally = before
