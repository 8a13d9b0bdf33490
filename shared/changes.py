"""The vocabulary of sync: what an edge sends up, what the centre sends down.

Rows travel in blocks, column by column, because whole columns are encoded, compressed, checked and
copied many times faster than rows. A block holds rows of one table that undergo the same operation
on the same columns; all its lists have one element a row, and run in the order of the rows.

Ids of rows, versions, transactions and epochs are UUIDs in their 36-character text form. Wall times
are milliseconds since 1970 (UTC). Values are in the canonical form of ``shared.values``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Value = None | int | float | str | bytes

#: Columns of one row, each set a mask, and the time of their last touch in milliseconds.
Times = tuple[tuple[int, int], ...]

#: Scope of the feed that all sites follow.
SHARED = "*"
#: How long a site remembers a deletion. No feed may reach back so far: an older head in it could
#: bring the row back.
TOMBSTONE_DAYS = 90


class Op(StrEnum):
    """What was done to a row at the edge."""

    INSERT = "I"
    UPDATE = "U"
    DELETE = "D"


class Fate(StrEnum):
    """What the centre says of a row."""

    PUT = "P"  #: the row stands with these values
    GONE = "G"  #: the row is deleted, or was never accepted
    LEFT = "L"  #: the row left this site's share; it lives on elsewhere


@dataclass(slots=True)
class ChangeBlock:
    """Rows of one table that a site changed in the same way.

    For append-only tables ``at``, ``base``, ``after``, ``old`` and ``times`` are empty lists.
    """

    table: str
    op: Op
    #: INSERT: every business column the sender knows. UPDATE: the touched ones. DELETE: none.
    columns: tuple[str, ...]
    sites: list[str]
    created: list[str]
    ids: list[str]
    #: Wall time of the last touch that changed anything, by the edge's own clock, uncorrected.
    at: list[int] = field(default_factory=list)
    #: The version decided by the centre that stood in the row before the first touch.
    base: list[str | None] = field(default_factory=list)
    #: tx_id of the site's own previous transaction on the row that was not yet decided.
    after: list[str | None] = field(default_factory=list)
    #: One list a column of ``columns``.
    new: list[list[Value]] = field(default_factory=list)
    #: UPDATE: what the writer saw, one list a column of ``columns``.
    old: list[list[Value]] = field(default_factory=list)
    #: Columns that were last touched at another time than ``at``, by masks of places in
    #: ``columns``; None for a row that has none, and empty where no row has any.
    times: list[Times | None] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    def part(self, rows: slice) -> ChangeBlock:
        """Return consecutive rows as a block of their own."""
        return replace(
            self,
            sites=self.sites[rows],
            created=self.created[rows],
            ids=self.ids[rows],
            at=self.at[rows],
            base=self.base[rows],
            after=self.after[rows],
            new=[column[rows] for column in self.new],
            old=[column[rows] for column in self.old],
            times=self.times[rows],
        )

    def take(self, places: Sequence[int]) -> ChangeBlock:
        """Return some rows as a block of their own."""
        if len(places) == len(self):
            return self

        def of(column: list[Any]) -> list[Any]:
            return [column[place] for place in places] if column else []

        return replace(
            self,
            sites=of(self.sites),
            created=of(self.created),
            ids=of(self.ids),
            at=of(self.at),
            base=of(self.base),
            after=of(self.after),
            new=list(map(of, self.new)),
            old=list(map(of, self.old)),
            times=of(self.times),
        )


@dataclass(slots=True)
class HeadBlock:
    """Rows of one table as the centre decided them."""

    table: str
    fate: Fate
    columns: tuple[str, ...]
    sites: list[str]
    created: list[str]
    ids: list[str]
    #: Version id of each row's head.
    version: list[str]
    #: Order of that version among all versions of its row; grows, never reused.
    order: list[int]
    new: list[list[Value]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    def part(self, rows: slice) -> HeadBlock:
        """Return consecutive rows as a block of their own."""
        return replace(
            self,
            sites=self.sites[rows],
            created=self.created[rows],
            ids=self.ids[rows],
            version=self.version[rows],
            order=self.order[rows],
            new=[column[rows] for column in self.new],
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One message's worth of a sync transaction: its envelope, and its frozen bytes."""

    site: str
    epoch: str
    n: int
    tx_id: str
    part: int
    parts: int
    #: Hash of transaction n - 1, and of this one.
    previous: bytes
    hash: bytes
    #: SHA-256 of each part's uncompressed body, in order; the hash is made over them.
    digests: tuple[bytes, ...]
    #: Compressed body.
    body: bytes


@dataclass(frozen=True, slots=True)
class PartBody:
    """The content of a part, once uncompressed: what the hash protects."""

    #: Version of the catalogue that the writer's store was built from.
    schema: int
    #: Hybrid logical clock at the drain.
    hlc: int
    #: Centre's clock minus the edge's, as measured at the last hello.
    offset_ms: int
    blocks: tuple[ChangeBlock, ...]


@dataclass(frozen=True, slots=True)
class SyncTransaction:
    """Everything a site committed between two drains, as one numbered link of its chain."""

    site: str
    epoch: str
    n: int
    tx_id: str
    previous: bytes
    hash: bytes
    schema: int
    hlc: int
    offset_ms: int
    blocks: tuple[ChangeBlock, ...]
    #: When the broker stored the last part: the bound that a clock running ahead is held to.
    stored_at_ms: int


@dataclass(frozen=True, slots=True)
class Ack:
    """How far the centre has decided on a site's transactions."""

    epoch: str
    #: Last n that is decided.
    n: int
    #: Last n that may be pruned at the edge: inside every backup that might still be restored.
    safe_n: int
    #: Hash of transaction n: a store that went back may have made another one of that number. None
    #: where the centre did not say it yet.
    hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One numbered link of a feed: heads of rows, and what the centre has decided so far."""

    #: A site, or ``SHARED``.
    scope: str
    pos: int
    previous: bytes
    hash: bytes
    #: Where other feeds stood when the centre's step ended, by scope: in a site's feed the shared
    #: one, in the shared feed those of the sites that had moved since it last named them. What all
    #: of these hold up to there is shown no later than this entry.
    beside: Mapping[str, int]
    schema: int
    ack: Ack | None
    blocks: tuple[HeadBlock, ...]
    #: Centre's wall clock when the entry was made.
    made_at_ms: int
    #: The centre's transaction goes on in the next entry: nothing is shown before its end.
    more: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a hash chain: the last link taken."""

    n: int
    hash: bytes


#: Hash of the link before the first.
GENESIS = bytes(32)
START = Position(0, GENESIS)
