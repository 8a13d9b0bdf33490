"""What can be seen of a site's sync at one moment: read by ``edge.status``, judged by ``verdict``.

Instants are milliseconds since 1970 by this machine's clock; None where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The agent, and its link as it last told."""

    running: bool
    connected: bool = False
    #: Since when the link stands, or does not.
    since_ms: int | None = None
    #: When it last told anything.
    told_ms: int | None = None
    version: str = ""
    rtt_ms: float | None = None
    disconnects: int = 0
    last_error: str = ""
    #: Why the broker does not let it in; empty where it does, or is not reached.
    refused: str = ""
    #: Why the broker did not take what was last sent; empty where it did.
    not_taken: str = ""
    #: Why it and the centre, which answers, do not agree yet; empty where they do.
    apart: str = ""
    servers: tuple[str, ...] = ()
    #: What it may send in a second, and receive; 0 for any amount.
    bytes_per_s_max: int = 0
    #: When the two last agreed by a hello.
    met_ms: int | None = None
    #: An error of its own that it did not foresee, and when it met it.
    failure: str = ""
    failed_ms: int | None = None
    #: Why it has ended for good; empty where it has not, or runs again.
    damaged: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits for the centre's decision, and what was not even packed for it yet."""

    transactions: int = 0
    #: Of the first ``PARTS_MAX`` messages.
    rows: int = 0
    bytes: int = 0
    oldest_ms: int | None = None
    undrained_rows: int = 0
    #: Of rows that are logged; facts do not tell when they were committed.
    undrained_since_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """How far the feeds were followed."""

    own: int = 0
    shared: int = 0
    waits_since_ms: int | None = None
    needs_snapshot: bool = False
    #: Chunks loaded of the snapshot under way.
    snapshot_chunks: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Centre:
    """What the centre has decided."""

    last_n: int = 0
    decided_n: int = 0
    decided_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is not yet in every backup that the centre might be restored from."""

    safe_n: int = 0
    transactions: int = 0
    oldest_n: int | None = None
    oldest_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """What the centre told of its backups at its last answer to a hello."""

    #: A backup was finished once: from then on the oldest tells what is kept here.
    marked: bool = False
    #: All that was committed here until then is in each backup that may be restored.
    through_ms: int | None = None
    newest_ms: int | None = None
    #: What is wrong with the backups; empty where nothing is.
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicts:
    """Conflicts that wait for a person, and those of the last day that a policy decided."""

    open: int = 0
    oldest_ms: int | None = None
    decided_today: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unapplied:
    """Rows that stand nowhere: parked at the centre, waiting for a parent, set aside here."""

    parked: int = 0
    waiting: int = 0
    oldest_ms: int | None = None
    #: Code -> rows; ``SEEN_TO`` are those that somebody has to see to.
    aside: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The centre's clock minus ours."""

    offset_ms: int = 0
    measured_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What comparing the store with the centre came to."""

    #: When every table was compared last.
    at_ms: int | None = None
    #: Rows that differed when their table was compared last, and were not repaired.
    differing: int = 0
    #: Tables that programs may have written past our triggers, and that were not the same since.
    uncaptured: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The store's size, and what is left on its disk."""

    store_bytes: int = 0
    wal_bytes: int = 0
    free_bytes: int = 0
    disk_bytes: int = 0
    #: Programs can't add facts, for want of room.
    facts_refused: bool = False
    #: Nobody can write anything there.
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything that a status shows."""

    at_ms: int
    store: str
    site: str
    epoch: str = ""
    stopped_because: str | None = None
    agent: Agent
    backlog: Backlog = field(default_factory=Backlog)
    feed: Feed = field(default_factory=Feed)
    centre: Centre = field(default_factory=Centre)
    kept: Kept = field(default_factory=Kept)
    protected: Protected = field(default_factory=Protected)
    conflicts: Conflicts = field(default_factory=Conflicts)
    unapplied: Unapplied = field(default_factory=Unapplied)
    clock: Clock = field(default_factory=Clock)
    compared: Compared = field(default_factory=Compared)
    space: Space = field(default_factory=Space)

    def age(self, instant_ms: int | None) -> int:
        """Return how long ago an instant was; 0 where there is none."""
        return 0 if instant_ms is None else max(0, self.at_ms - instant_ms)
