"""What the ends of the model say to one another, and the tables that they speak of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING

from shared.catalog import Column, ColumnType, Direction, Group, Kind, Policy, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.changes import Op, Value

Values = dict[str, "Value"]
#: Table and id.
Key = tuple[str, str]
#: What is left of a touch once it is drained: when it was, and of which columns.
Trace = tuple[int, tuple[str, ...]]
#: By epoch the last n that is decided, and the last that is safe.
Ack = tuple[tuple[str, int, int], ...]
#: Position and hash of a feed.
Place = tuple[int, str]

MINUTE = 60_000
#: How far ahead of the centre a clock may be before it is held back.
DRIFT_MAX = 5 * MINUTE
SITES = ("SITE1", "SITE2")
GENESIS = "genesis"
POISON = "poison"

_TEXT, _NUMBER, _SET = (ColumnType(kind) for kind in (Kind.TEXT, Kind.INTEGER, Kind.SET))
STATES = ("planned", "released", "running", "done")

#: A two-way table of one site, with a column of every policy.
ORDERS = Table(
    "orders",
    Direction.BOTH,
    columns=(
        Column("note", _TEXT),
        Column("due", _TEXT, policy=Policy.CENTRAL),
        Column("shelf", _TEXT, policy=Policy.SITE),
        Column("made", _NUMBER, default=0, policy=Policy.SUM),
        Column("severity", _NUMBER, policy=Policy.MAX),
        Column("earliest", _NUMBER, policy=Policy.MIN),
        Column("state", _TEXT, policy=Policy.LATTICE, order=STATES),
        Column("holds", _SET, default="[]", policy=Policy.ADD_REMOVE_SET),
        Column("limit", _NUMBER, policy=Policy.REVIEW, safe="smaller"),
        Column("worker", _TEXT),
        Column("seat", _TEXT),
        Column("code", _TEXT),
        Column("extra", _TEXT, since=2),
    ),
    groups=(Group("place", ("worker", "seat"), Policy.LAST_WRITE),),
    natural_keys=(("code",),),
)
#: A two-way table whose rows go to the sites that they name.
PEOPLE = Table(
    "people",
    Direction.BOTH,
    columns=(
        Column("sites", _SET, default="[]", policy=Policy.CENTRAL),
        Column("name", _TEXT),
        Column("phone", _TEXT, policy=Policy.SITE),
    ),
    share=("sites",),
)
#: Facts, each of an order.
REPORTS = Table(
    "reports",
    Direction.UP,
    columns=(
        Column("order", _TEXT, policy=Policy.APPEND_ONLY, references="orders", enforced=True),
        Column("good", _NUMBER, policy=Policy.APPEND_ONLY),
    ),
    append_only=True,
)
TABLES = {table.name: table for table in (ORDERS, PEOPLE, REPORTS)}
#: Columns that an end at schema 1 does not know.
ADDED = {"extra"}


def hashed(*parts: object) -> str:
    """Return a hash of what is given, by its text."""
    return blake2b(repr(parts).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Change:
    """What a site did to one row between two drains."""

    key: Key
    op: Op
    new: Mapping[str, Value]
    old: Mapping[str, Value]
    #: When it was touched last, by the site's clock.
    at: int
    base: str | None = None
    #: The site's own undecided transaction that it is built on.
    after: str | None = None
    #: When each column was touched last, by the site's clock.
    times: Mapping[str, int] = field(default_factory=dict)
    #: When it was touched at all, and in which columns: by this a store knows its touches again.
    touches: tuple[Trace, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A transaction of a site, or one part of it."""

    site: str
    epoch: str
    n: int
    tx_id: str
    previous: str
    hash: str
    schema: int
    offset: int
    changes: tuple[Change, ...]
    part: int = 0
    parts: int = 1
    stored_at: int = 0
    #: The answered hello after which it was sent.
    session: str = ""

    def stored(self, now: int, session: str) -> Link:
        """Return it as the broker has it."""
        return replace(self, stored_at=now, session=session)


class Fate(Enum):
    """Why a site has no row, or has one."""

    DECIDED = "decided"  #: it stands, or was deleted
    LEFT = "left"  #: it left the site's share
    MISSING = "missing"  #: a snapshot did not hold it


@dataclass(frozen=True, slots=True)
class Head:
    """A row as the centre decided it; values are None where there is none."""

    key: Key
    values: Values | None
    version: str
    order: int
    fate: Fate = Fate.DECIDED
    #: Its order is one of a history of the centre that was lost.
    stale: bool = False
    #: The starts of the centre that its store had met when it became stale.
    met: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One conflict of the history, or a change that is parked: what of it is kept."""

    name: str
    key: Key
    policy: str
    outcome: str
    #: All values of both sides, by column.
    values: tuple[tuple[str, Value], ...]
    #: The site that it goes to, "all" for each.
    to: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A numbered link of a site's feed."""

    pos: int
    previous: str
    hash: str
    heads: tuple[Head, ...]
    records: tuple[Record, ...]
    ack: Ack
    #: The highest order of any version by then.
    order: int
    #: The start of the centre after which it was made.
    start: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows of a site's share, as they stood at a place of its feed."""

    heads: tuple[Head, ...]
    records: tuple[Record, ...]
    order: int
    pos: int
    hash: str
    ack: Ack
    start: str
    #: The positions before it count no more: the centre went back.
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Hello:
    """How far a site says that it is."""

    session: str
    epoch: str
    #: Earlier epochs, up to where they are the store's, and where they were closed.
    lineage: tuple[tuple[str, int, int], ...]
    n: int
    acked: Mapping[str, int]
    #: Places of the centre's feed that something was taken from.
    places: tuple[Place, ...]
    #: Starts of the centre that it has met, and the highest order of each.
    starts: Mapping[str, int]
    chain: Mapping[tuple[str, int], str]


@dataclass(frozen=True, slots=True)
class Sent:
    """What the centre remembers of a change that a site sent, whatever became of it."""

    site: str
    epoch: str
    n: int
    tx_id: str
    touches: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """What a store that went back is told of its lost life."""

    fork: int
    closed: int
    #: The touches of each change that it has sent.
    sent: Mapping[Key, list[tuple[Trace, ...]]]
    heads: tuple[Head, ...]
    facts: Mapping[str, Values]
    records: tuple[Record, ...]
    ack: Ack
    #: What it was taken from, as of an entry.
    place: Place
    start: str
    order: int
    #: Transactions beyond the fork that are known by another number.
    known: frozenset[str]
    #: Up to where the site's transactions of each epoch are in the heads, by row: they came home.
    included: Mapping[Key, Mapping[str, int]]


def members(text: Value) -> set[str]:
    """Return the members of a set that is written as JSON."""
    return set(json.loads(text)) if isinstance(text, str) else set()


def set_text(those: set[str]) -> str:
    """Return a set as its canonical JSON."""
    return json.dumps(sorted(those), separators=(",", ":"))
