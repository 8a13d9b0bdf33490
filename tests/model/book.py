"""What PostgreSQL holds in the model, backed up and restored as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.model.vocabulary import (
    GENESIS,
    Change,
    Entry,
    Key,
    Link,
    Record,
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


@dataclass(slots=True)
class Chain:
    """How far an epoch of a site is decided."""

    last_n: int = 0
    hash: str = GENESIS
    closed: int | None = None
    hashes: dict[int, str] = field(default_factory=dict)
    #: Rows of transactions up to it came home with a salvage already.
    included: int = 0


@dataclass(slots=True)
class Parked:
    """A change that could not be applied."""

    link: Link
    change: Change
    reason: str
    state: str = "parked"


@dataclass(slots=True)
class Feed:
    """The entries for one site."""

    entries: list[Entry] = field(default_factory=list)
    #: Position of the last entry that is gone, and the end.
    pruned: int = 0
    pos: int = 0
    hash: str = GENESIS
    acked: tuple[tuple[str, int, int], ...] = ()


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
    #: The history, and the site that each record goes to.
    records: dict[str, tuple[Record, str]] = field(default_factory=dict)
    parked: dict[str, Parked] = field(default_factory=dict)
    feeds: dict[str, Feed] = field(default_factory=dict)
    spool: dict[tuple[str, str, int], dict[int, Link]] = field(default_factory=dict)
    #: What waits for the sequencer: a number, and the rows or records that were touched.
    queue: list[tuple[int, Key | None, Record | None, str]] = field(default_factory=list)
    number: int = 0
    passed: int = 0
    aside: dict[Key, Values] = field(default_factory=dict)
    #: Where another history of ours may have begun: the order at the last start.
    fork_order: int = 0
    fork_at: int = 0
    #: Deletions were forgotten.
    forgot: bool = False
    fork_rows: dict[Key, Row] = field(default_factory=dict)
    #: How far along that other history each row came home.
    tips: dict[Key, tuple[int, Values | None]] = field(default_factory=dict)
