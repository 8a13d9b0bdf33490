"""What a site sent, in the centre's terms: rows that may be applied, and rows that may not."""

from __future__ import annotations

import uuid
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Self

from shared.clock import wall_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.catalog import Column, Table
    from shared.changes import ChangeBlock, Op, SyncTransaction, Value
    from sync.decisions import Moment

    #: Columns of one row by masks of the catalogue's bits, and when they were touched.
    RowTimes = tuple[tuple[int, Moment], ...]

_SCHEMA_MAX: Final = (1 << 31) - 1
_HLC_MAX: Final = (1 << 63) - 1


def bounded_hlc(hlc: int) -> int:
    """Return a clock that a sender counted beyond all reason as one that PostgreSQL can hold."""
    return min(max(hlc, 0), _HLC_MAX)


@dataclass(frozen=True, slots=True)
class Origin:
    """The sync transaction that rows came in."""

    site: str
    epoch: str
    n: int
    tx_id: str
    schema: int
    hlc: int
    offset_ms: int
    stored_at_ms: int
    #: The ticket of the one row that is meant, where it is parked or was: not all can be told from
    #: the row, since an id may come more than once.
    ticket: str | None = None
    #: The ticket's place among all that wait; None for what comes now, after all of them.
    place: int | None = None

    def __post_init__(self) -> None:
        """Bring what a sender counts beyond all reason to what PostgreSQL can hold."""
        object.__setattr__(self, "schema", min(max(self.schema, 0), _SCHEMA_MAX))
        object.__setattr__(self, "hlc", bounded_hlc(self.hlc))

    @property
    def through_ms(self) -> int:
        """Return when it was drained, by the centre's clock; never after the broker had it."""
        return min(wall_ms(self.hlc) + self.offset_ms, self.stored_at_ms)

    @property
    def is_home(self) -> bool:
        """Return whether it came home after a restore, and is no write of its site's."""
        return self.n == 0

    @classmethod
    def of(cls, sent: SyncTransaction) -> Self:
        """Return what a sync transaction says of all its rows."""
        return cls(
            sent.site, sent.epoch, sent.n, sent.tx_id,
            sent.schema, sent.hlc, sent.offset_ms, sent.stored_at_ms,
        )  # fmt: skip


#: Names of what is made of a transaction's rows follow from them, so a replay makes the same.
_NAMES: Final = uuid.UUID("6d65732d-7379-4e63-8c6f-6e666c696374")


def name_of(*parts: str) -> str:
    """Return the id that stands for these parts."""
    return str(uuid.uuid5(_NAMES, "\x00".join(parts)))


class Reason(StrEnum):
    """Why a row was parked; what an operator can search for."""

    MALFORMED = "malformed"
    FOREIGN_SITE = "foreign_site"
    NOT_WRITABLE = "not_writable"  #: the table travels down only
    APPEND_ONLY = "append_only"
    INVALID_VALUE = "invalid_value"
    KEY_TAKEN = "key_taken"  #: another row has the natural key
    ID_TAKEN = "id_taken"  #: a fact of this id, with other content, is there
    MOVED = "moved"  #: created_at is not that of the row
    DATABASE = "database"  #: PostgreSQL refuses it
    FAULT = "fault"  #: the apply itself failed on it: a mistake of this program
    NEWER_SCHEMA = "newer_schema"  #: waits for another catalogue of the centre
    PARENT_MISSING = "parent_missing"  #: waits for the row it refers to
    TIED = "tied"  #: waits for a row of the same transaction that it belongs to
    BEHIND = "behind"  #: waits for an earlier change of the same row

    @property
    def waits(self) -> bool:
        """Return whether the row is applied by itself when what it waits for has come."""
        return self in (Reason.NEWER_SCHEMA, Reason.PARENT_MISSING, Reason.TIED, Reason.BEHIND)


@dataclass(frozen=True, slots=True)
class Source:
    """One row as it was sent."""

    block: ChangeBlock
    place: int
    origin: Origin

    @property
    def id(self) -> str:
        """Return the row's id, whatever it looks like."""
        return self.block.ids[self.place]

    @property
    def key(self) -> tuple[str, str]:
        """Return the table and the id."""
        return self.block.table, self.block.ids[self.place]

    @property
    def ticket(self) -> str:
        """Return the id of the parked item, should the row be parked; a replay makes the same."""
        return self.origin.ticket or name_of(self.origin.tx_id, self.block.table, self.id, "parked")

    def new(self) -> dict[str, Value]:
        """Return the values that were sent, by column."""
        values = zip(self.block.columns, self.block.new, strict=False)
        return {name: column[self.place] for name, column in values}

    def old(self) -> dict[str, Value]:
        """Return what the writer saw, by column; empty but for updates."""
        values = zip(self.block.columns, self.block.old, strict=False)
        return {name: column[self.place] for name, column in values}

    def alone(self) -> ChangeBlock:
        """Return the row as a block of its own."""
        return self.block.part(slice(self.place, self.place + 1))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is not applied, and why."""

    source: Source
    reason: Reason
    message: str
    #: The id of the parent that is missing.
    needs: str | None = None
    #: The table that it is missing in.
    needs_of: str | None = None
    #: The ticket of the parked row that it waits for.
    behind: str | None = None
    #: What it waits for is quiet itself.
    quiet: bool = False

    @property
    def is_quiet(self) -> bool:
        """Return whether the site goes on as if the row had been applied.

        So it does where the row only waits for something that is on its way. What is built on it
        meanwhile waits behind it.
        """
        return self.quiet or self.reason in (Reason.PARENT_MISSING, Reason.NEWER_SCHEMA)


@dataclass(frozen=True, slots=True)
class Extra:
    """A value of a column that the centre does not know yet."""

    source: Source
    column: str
    value: Value


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows that came in one block."""

    start: int
    block: ChangeBlock
    origin: Origin
    places: Sequence[int]


@dataclass(slots=True)
class Rows:
    """Rows of one table, checked, that are to undergo the same operation on the same columns.

    All lists have one element a row; of facts those from ``tx_ids`` to ``after`` are empty.
    """

    table: Table
    op: Op
    columns: tuple[Column, ...]
    ids: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    #: Id of the sync transaction: the version that a row gets where nothing is in the way.
    tx_ids: list[str] = field(default_factory=list)
    #: Hybrid logical clock of the drain: the order of a site's own writes.
    hlc: list[int] = field(default_factory=list)
    #: Wall time of the last touch, corrected and held to the bound, and whether it had to be.
    at: list[int] = field(default_factory=list)
    clamped: list[bool] = field(default_factory=list)
    base: list[str | None] = field(default_factory=list)
    after: list[str | None] = field(default_factory=list)
    new: list[list[Value]] = field(default_factory=list)
    old: list[list[Value]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list, repr=False)
    #: Columns that were touched at another time than ``at``; empty where no row has any.
    times: list[RowTimes | None] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    @property
    def months(self) -> set[str]:
        """Return the months of created_at, such as ``2026-11``."""
        return {created[:7] for created in self.created}

    def expected(self) -> list[str | None]:
        """Return the version that each row's head has where nobody else wrote it."""
        return [after or base for after, base in zip(self.after, self.base, strict=True)]

    def values(self, name: str) -> list[Value] | None:
        """Return the new values of a column, None where it is not touched."""
        for column, values in zip(self.columns, self.new, strict=True):
            if column.name == name:
                return values
        return None

    def came_from(self, block: ChangeBlock, origin: Origin, places: Sequence[int]) -> None:
        """Note where the rows, which are all of one block, came from."""
        self.segments = [Segment(0, block, origin, places)]

    def source(self, row: int) -> Source:
        """Return a row as it was sent."""
        found = bisect_right(self.segments, row, key=lambda segment: segment.start) - 1
        segment = self.segments[found]
        return Source(segment.block, segment.places[row - segment.start], segment.origin)

    def take(self, rows: Sequence[int]) -> Rows:
        """Return some of the rows."""
        picked = self.like([[column[i] for i in rows] if column else [] for column in self.lists()])
        starts = [segment.start for segment in self.segments]
        number = 0
        for at, some in groupby(rows, key=lambda row: bisect_right(starts, row) - 1):
            segment = self.segments[at]
            places = [segment.places[row - segment.start] for row in some]
            picked.segments.append(Segment(number, segment.block, segment.origin, places))
            number += len(places)
        return picked

    def without(self, rows: Iterable[int]) -> Rows:
        """Return all but some of the rows."""
        gone = set(rows)
        return self.take([row for row in range(len(self)) if row not in gone]) if gone else self

    def slices(self, rows_max: int) -> Iterable[Rows]:
        """Return the rows in portions."""
        if len(self) <= rows_max:
            return [self] if self.ids else []
        return (
            self.take(range(start, min(start + rows_max, len(self))))
            for start in range(0, len(self), rows_max)
        )

    def lists(self) -> list[list[Any]]:
        """Return all lists that have one element a row."""
        return [
            self.ids, self.created, self.tx_ids, self.hlc, self.at, self.clamped,
            self.base, self.after, self.times, *self.new, *self.old,
        ]  # fmt: skip

    def like(self, lists: list[list[Any]]) -> Rows:
        """Return other rows of the same kind, given their ``lists``."""
        ids, created, tx_ids, hlc, at, clamped, base, after, times, *values = lists
        width = len(self.new)
        return Rows(
            self.table, self.op, self.columns, ids, created, tx_ids, hlc, at, clamped, base, after,
            values[:width], values[width:], times=times,
        )  # fmt: skip


def joined(pieces: Sequence[Rows]) -> Rows:
    """Return rows of the same table, operation and columns as one."""
    if len(pieces) == 1:
        return pieces[0]
    if any(piece.times for piece in pieces):
        pieces = [replace(p, times=p.times or [None] * len(p)) for p in pieces]
    whole = pieces[0].like(
        [
            [value for piece in column for value in piece]
            for column in zip(*(piece.lists() for piece in pieces), strict=True)
        ]
    )
    start = 0
    for piece in pieces:
        whole.segments += [
            Segment(start + s.start, s.block, s.origin, s.places) for s in piece.segments
        ]
        start += len(piece)
    return whole
