"""How a site's sync is: a verdict in words, with reasons and what to type next.

Pure: ``edge.status`` reads what is judged here. A site that is cut off works on its own and is no
emergency. Critical is what a person has to see to before anything goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from shared.clock import DRIFT_MAX_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA: Final = "mes-sync.status/v1"

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000

#: How long a transaction may wait for the centre's decision while the link stands.
BACKLOG_OLD_MS: Final = 10 * _MINUTE_MS
BACKLOG_CRITICAL_MS: Final = 60 * _MINUTE_MS
#: How long a committed write may wait for a running agent to take it up.
DRAIN_MAX_MS: Final = _MINUTE_MS
FEED_WAITS_MAX_MS: Final = _MINUTE_MS
#: Agents say hello every 15 s; without an answer for so long, nobody at the centre listens.
SILENT_MAX_MS: Final = 3 * _MINUTE_MS
#: How long an error of the agent's own is shown.
FAILURE_SHOWN_MS: Final = 60 * _MINUTE_MS
CLOCK_MAX_MS: Final = 5_000
DISK_LOW: Final = 0.10
DISK_CRITICAL: Final = 0.02
DISK_CRITICAL_BYTES: Final = 200_000_000
KEPT_LONG_MS: Final = 14 * _DAY_MS
#: Why a row is set aside, where somebody has to see to it.
SEEN_TO: Final = ("unique", "refused", "too_large")


class Level(IntEnum):
    """How bad it is; also the exit code of ``mes-sync status``."""

    OK = 0
    DEGRADED = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        """Return the level as a word."""
        return self.name.lower()


# --- what is seen ------------------------------------------------------------------------------
# Instants are milliseconds since 1970 by this machine's clock; None where there is none.


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
    servers: tuple[str, ...] = ()
    #: What it may send in a second, and receive; 0 for any amount.
    bytes_per_s_max: int = 0
    #: When the centre last answered its hello.
    met_ms: int | None = None
    #: An error of its own that it did not foresee, and when it met it.
    failure: str = ""
    failed_ms: int | None = None


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
class Space:
    """The store's size, and what is left on its disk."""

    store_bytes: int = 0
    wal_bytes: int = 0
    free_bytes: int = 0
    disk_bytes: int = 0
    #: Programs can't add facts, for want of room.
    facts_refused: bool = False


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
    conflicts: Conflicts = field(default_factory=Conflicts)
    unapplied: Unapplied = field(default_factory=Unapplied)
    clock: Clock = field(default_factory=Clock)
    space: Space = field(default_factory=Space)

    def age(self, instant_ms: int | None) -> int:
        """Return how long ago an instant was; 0 where there is none."""
        return 0 if instant_ms is None else max(0, self.at_ms - instant_ms)


# --- what is said of it --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is not as it should be, and what to type about it."""

    code: str
    level: Level
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole status."""

    picture: Picture
    level: Level
    words: str
    reasons: tuple[Reason, ...] = ()


def judge(picture: Picture) -> Verdict:
    """Return the verdict, the gravest reason first."""
    reasons = tuple(sorted(_reasons(picture), key=lambda reason: reason.level, reverse=True))
    level = max((reason.level for reason in reasons), default=Level.OK)
    return Verdict(picture, level, _words(picture, level), reasons)


def document(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict for programs; within a schema's version fields are only added."""
    return {
        "schema": SCHEMA,
        "status": verdict.level.word,
        "exit_code": int(verdict.level),
        "verdict": verdict.words,
        "reasons": [asdict(each) | {"level": each.level.word} for each in verdict.reasons],
        **asdict(verdict.picture),
    }


def counted(count: int, one: str, many: str) -> str:
    """Return a number of things in words."""
    return f"{count:,} {one if count == 1 else many}".replace(",", " ")


def _words(picture: Picture, level: Level) -> str:
    agent = picture.agent
    said = (
        (picture.stopped_because is not None, "stopped, a person has to look"),
        (not agent.running, "not running, writes are kept here"),
        (agent.refused, "refused by the broker, working locally"),
        (not agent.connected, "offline, working locally"),
        (_is_silent(picture), "the centre does not answer, working locally"),
        (picture.feed.needs_snapshot, "loading the centre's state"),
        (level > Level.OK, "connected, needs a look"),
        (picture.backlog.transactions > 0, "sending"),
    )
    return next((words for holds, words in said if holds), "in step with the centre")


def _reasons(picture: Picture) -> Iterator[Reason]:
    yield from _of_agent(picture)
    yield from _of_lanes(picture)
    yield from _for_people(picture)
    yield from _of_machine(picture)


def _of_agent(picture: Picture) -> Iterator[Reason]:
    agent = picture.agent
    if picture.stopped_because is not None:
        yield Reason(
            "MES-STOPPED", Level.CRITICAL, picture.stopped_because, "mes-sync explain MES-STOPPED"
        )
        return
    if not agent.running:
        yield Reason(
            "MES-AGENT-DOWN",
            Level.CRITICAL,
            "no agent runs for this store: nothing is sent or received",
            "systemctl start mes-edge (or: mes-edge run)",
        )
        return
    if agent.failed_ms is not None and picture.age(agent.failed_ms) < FAILURE_SHOWN_MS:
        yield Reason(
            "MES-AGENT-FAILED", Level.DEGRADED, agent.failure, "journalctl -u mes-edge -p err"
        )
    if agent.refused:
        yield Reason("MES-REFUSED", Level.CRITICAL, agent.refused, "mes-sync explain MES-REFUSED")
    elif not agent.connected:
        why = f": {agent.last_error}" if agent.last_error else ""
        yield Reason(
            "MES-OFFLINE",
            Level.DEGRADED,
            f"no connection to {', '.join(agent.servers) or 'the broker'}{why}",
            "mes-sync explain MES-OFFLINE",
        )
    elif _is_silent(picture):
        yield Reason(
            "MES-CENTRE-SILENT",
            Level.DEGRADED,
            "the broker is reached, but the centre answers no hello",
            "mes-central status (at the centre)",
        )


def _is_silent(picture: Picture) -> bool:
    """Return whether the link stands and nobody at the other end answers."""
    agent = picture.agent
    answered = max(agent.met_ms or 0, agent.since_ms or 0)
    return agent.connected and picture.at_ms - answered > SILENT_MAX_MS


def _of_lanes(picture: Picture) -> Iterator[Reason]:
    agent, backlog, feed = picture.agent, picture.backlog, picture.feed
    undrained = picture.age(backlog.undrained_since_ms)
    if agent.running and picture.stopped_because is None and undrained > DRAIN_MAX_MS:
        yield Reason(
            "MES-DRAIN-STUCK",
            Level.CRITICAL,
            f"a write was committed {undrained // 1000} s ago and not taken up",
            f"fuser {picture.store}",
        )
    waited = picture.age(backlog.oldest_ms)
    if agent.connected and waited > BACKLOG_OLD_MS:
        yield Reason(
            "MES-BACKLOG-OLD",
            Level.CRITICAL if waited > BACKLOG_CRITICAL_MS else Level.DEGRADED,
            f"the oldest write without a decision is {waited // _MINUTE_MS} min old",
            "mes-central status (at the centre)",
        )
    if feed.needs_snapshot and agent.connected:
        yield Reason(
            "MES-SNAPSHOT",
            Level.DEGRADED,
            counted(feed.snapshot_chunks or 0, "chunk is", "chunks are") + " loaded",
            "mes-sync status --watch",
        )
    if picture.age(feed.waits_since_ms) > FEED_WAITS_MAX_MS:
        yield Reason(
            "MES-FEED-WAITS",
            Level.DEGRADED,
            "news of the centre wait for shared rows that have not come",
            "mes-sync explain MES-FEED-WAITS",
        )


def _for_people(picture: Picture) -> Iterator[Reason]:
    conflicts, unapplied = picture.conflicts, picture.unapplied
    if conflicts.open:
        yield Reason(
            "MES-REVIEWS",
            Level.DEGRADED,
            counted(conflicts.open, "conflict needs a person", "conflicts need a person"),
            "mes-sync conflicts list",
        )
    if unapplied.parked:
        yield Reason(
            "MES-PARKED",
            Level.DEGRADED,
            counted(unapplied.parked, "row", "rows") + " could not be applied at the centre",
            "mes-sync parked list",
        )
    aside = sum(unapplied.aside.get(code, 0) for code in SEEN_TO)
    if aside:
        yield Reason(
            "MES-ASIDE",
            Level.DEGRADED,
            counted(aside, "row stands aside here", "rows stand aside here"),
            "mes-sync parked list",
        )


def _of_machine(picture: Picture) -> Iterator[Reason]:
    offset, space, kept = abs(picture.clock.offset_ms), picture.space, picture.kept
    if offset > CLOCK_MAX_MS:
        yield Reason(
            "MES-CLOCK",
            Level.CRITICAL if offset > DRIFT_MAX_MS else Level.DEGRADED,
            f"this clock is {offset / 1000:.1f} s"
            f" {'behind' if picture.clock.offset_ms > 0 else 'ahead of'} the centre's",
            "timedatectl set-ntp true",
        )
    yield from _of_disk(space)
    if picture.agent.connected and picture.age(kept.oldest_ms) > KEPT_LONG_MS:
        yield Reason(
            "MES-KEPT-LONG", Level.DEGRADED,
            f"transactions are kept for {picture.age(kept.oldest_ms) // _DAY_MS} days",
            "mes-sync explain MES-KEPT-LONG",
        )  # fmt: skip


def _of_disk(space: Space) -> Iterator[Reason]:
    if space.facts_refused:
        yield Reason(
            "MES-DISK-FULL", Level.CRITICAL,
            "new rows of append-only tables are refused: the store's disk is nearly full",
            "mes-sync explain MES-DISK-FULL",
        )  # fmt: skip
    share = space.free_bytes / space.disk_bytes if space.disk_bytes else 1.0
    if share < DISK_LOW:
        grave = share < DISK_CRITICAL or space.free_bytes < DISK_CRITICAL_BYTES
        yield Reason(
            "MES-DISK-LOW", Level.CRITICAL if grave else Level.DEGRADED,
            f"{share:.0%} of the store's disk is free", "mes-sync explain MES-DISK-LOW",
        )  # fmt: skip
