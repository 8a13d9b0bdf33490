"""What PostgreSQL holds in the model, backed up and restored as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sync.decisions import CENTRE, Author
from tests.model.vocabulary import (
    GENESIS,
    Ack,
    Change,
    Entry,
    Key,
    Link,
    Record,
    Sent,
    Values,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sync.decisions import Version

    Names = Callable[[str], str]


@dataclass(slots=True)
class Row:
    """A head, and what is behind it."""

    values: Values | None = None
    #: What it held when it was deleted.
    last: Values | None = None
    version: str = ""
    order: int = 0
    #: Sites that hold it.
    sent: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Known:
    """A version in the row's history."""

    order: int
    version: Version
    #: Epoch and n of the transaction that it came by.
    epoch: str = ""
    n: int = 0
    #: It came home from a site after the centre went back.
    lost: bool = False


class AsideBy(NamedTuple):
    """Who wrote a value whose column is to come: it stays the site's own when that is there."""

    author: Author
    epoch: str
    n: int


#: Of what came home after we went back nobody knows.
CAME_HOME: Final = AsideBy(Author(CENTRE, None, 0, clamped=False), "", 0)


@dataclass(slots=True)
class Chain:
    """How far an epoch of a site is decided."""

    last_n: int = 0
    hash: str = GENESIS
    closed: int | None = None
    hashes: dict[int, str] = field(default_factory=dict)
    #: Up to where it was decided before we went back, as the site told us.
    home_n: int = 0
    #: Epochs of the same store before it, and up to where they are part of it.
    lineage: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Parked:
    """A change that could not be applied."""

    link: Link
    change: Change
    reason: str
    state: str = "parked"


@dataclass(frozen=True, slots=True)
class Touched:
    """Something that the sequencer has to tell."""

    number: int
    key: Key | None = None
    record: Record | None = None
    #: The site whose own clean write it is: the ack tells it enough.
    known_to: str = ""
    #: The site that has no such row.
    refused: str = ""


@dataclass(slots=True)
class Feed:
    """The entries for one site."""

    entries: list[Entry] = field(default_factory=list)
    #: Position of the last entry that is gone, and the end.
    pruned: int = 0
    pos: int = 0
    hash: str = GENESIS
    acked: Ack = ()


@dataclass(slots=True)
class Start:
    """A start of PostgreSQL, maybe as an older copy."""

    id: str
    #: The highest order of any version then, and when it was.
    order: int
    at: int
    #: Rows that were written since, as they were then.
    rows: dict[Key, Row] = field(default_factory=dict)
    #: How far along a history that ended with it each row came home.
    tips: dict[Key, tuple[int, Values | None]] = field(default_factory=dict)


@dataclass(slots=True)
class Book:
    """Everything that PostgreSQL holds, and so what a backup holds."""

    schema: int = 2
    order: int = 0
    rows: dict[Key, Row] = field(default_factory=dict)
    versions: dict[Key, list[Known]] = field(default_factory=dict)
    chains: dict[tuple[str, str], Chain] = field(default_factory=dict)
    applied: set[str] = field(default_factory=set)
    facts: dict[str, Values] = field(default_factory=dict)
    #: The history.
    records: dict[str, Record] = field(default_factory=dict)
    parked: dict[str, Parked] = field(default_factory=dict)
    feeds: dict[str, Feed] = field(default_factory=dict)
    spool: dict[tuple[str, str, int], dict[int, Link]] = field(default_factory=dict)
    #: What deletions replaced, as versions keep it.
    replaced: dict[Key, list[Values]] = field(default_factory=dict)
    #: What sites sent of each row.
    sent: dict[Key, list[Sent]] = field(default_factory=dict)
    #: By row and epoch up to where what a site sent came home with a salvage already.
    included: dict[Key, dict[str, int]] = field(default_factory=dict)
    queue: list[Touched] = field(default_factory=list)
    number: int = 0
    passed: int = 0
    aside: dict[Key, Values] = field(default_factory=dict)
    #: By whom they were written, and in which transaction.
    aside_by: dict[Key, AsideBy] = field(default_factory=dict)
    #: Every start of PostgreSQL: after it another history of ours may have begun.
    starts: list[Start] = field(default_factory=list)
    #: Deletions were forgotten.
    forgot: bool = False
