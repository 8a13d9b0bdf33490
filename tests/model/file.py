"""What a site's SQLite file holds in the model: it can be copied and restored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.model.vocabulary import (
    GENESIS,
    Head,
    Key,
    Link,
    Place,
    Record,
    Values,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.changes import Op, Value
    from tests.model.vocabulary import Snapshot, Trace

    Names = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Touch:
    """What one user transaction did to one row."""

    commit: int
    key: Key
    op: Op
    new: Mapping[str, Value]
    #: What the writer saw; of a deletion the whole row.
    old: Mapping[str, Value]
    at: int
    #: How wrong the clock was; for the checks alone.
    skew: int

    @property
    def trace(self) -> Trace:
        """Return what the touch is known by once it is drained."""
        return self.at, tuple(sorted(self.new))


@dataclass(slots=True)
class File:
    """What the SQLite file holds, and so what a restore brings back."""

    site: str
    #: Where it was made: a copy elsewhere has another place, but says this.
    made_as: str
    epoch: str
    schema: int = 2
    #: Earlier epochs: up to where they are ours, and where they were closed.
    lineage: list[tuple[str, int, int]] = field(default_factory=list)
    last_n: int = 0
    last_hash: str = GENESIS
    #: By epoch the last own transaction that is decided.
    acked: dict[str, int] = field(default_factory=dict)
    offset: int = 0
    commits: int = 0
    #: All user transactions that were made in it; for the checks alone.
    held: set[int] = field(default_factory=set)
    log: list[Touch] = field(default_factory=list)
    outbox: list[Link] = field(default_factory=list)
    #: What a reader still has to see over the heads.
    undecided: list[Link] = field(default_factory=list)
    #: Hash of each own transaction, by epoch and n.
    chain: dict[tuple[str, int], str] = field(default_factory=dict)
    heads: dict[Key, Head] = field(default_factory=dict)
    #: By row and epoch the last own transaction that the head includes.
    includes: dict[Key, dict[str, int]] = field(default_factory=dict)
    #: What rows held that are gone.
    last: dict[Key, Values] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    facts: dict[str, Values] = field(default_factory=dict)
    #: Facts that are older than they are kept here.
    dropped: set[str] = field(default_factory=set)
    #: Values of columns that the schema does not have yet.
    aside: dict[Key, Values] = field(default_factory=dict)
    pos: int = 0
    pos_hash: str = GENESIS
    #: The furthest place of the feed that anything was taken from.
    top: Place = (0, GENESIS)
    #: Starts of the centre after which anything was made that was taken, and the highest order.
    starts: dict[str, int] = field(default_factory=dict)
    loading: Snapshot | None = None
    loaded: int = 0
    #: Without the overlay: own transactions and commits that an incoming row covers.
    covered: dict[Key, tuple[int, int]] = field(default_factory=dict)
